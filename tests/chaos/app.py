"""An application whose jobs write down when they ran, beside the database that is taken from them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rivermill import Job, Workers

workers = Workers()


@dataclass
class Interval:
    kind: ClassVar[str] = "interval"
    seconds: float


@workers.work
async def run(job: Job[Interval]) -> None:
    note(job, "started")
    try:
        await asyncio.sleep(job.args.seconds)
    finally:
        note(job, "ended")


def note(job: Job[Interval], event: str) -> None:
    """One line, written at once."""
    line = {"job": job.id, "attempt": job.attempt, "pid": os.getpid(), "event": event, "time": time.time()}
    with Path(os.environ["INTERVALS"]).open("a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")
