"""Applications that do not want to end or take their time, or cannot begin."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rivermill import Job, Workers


@dataclass
class Stubborn:
    kind: ClassVar[str] = "stubborn"


@dataclass
class Patient:
    path: str
    kind: ClassVar[str] = "patient"


@dataclass
class Deaf:
    kind: ClassVar[str] = "deaf"


workers = Workers()


@workers.work
def ignore_the_flag(job: Job[Stubborn]) -> None:
    time.sleep(600)


@workers.work(executor="process")
def wait_for_the_end(job: Job[Patient]) -> None:
    begun, end = Path(job.args.path, "begun"), Path(job.args.path, "end")
    begun.touch()
    while not end.exists():
        time.sleep(0.05)


@workers.work
async def ignore_the_cancellation(job: Job[Deaf]) -> None:
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            continue


async def never_ready() -> Workers:
    """Waits for something that does not come."""
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    await asyncio.sleep(600)
    return workers
