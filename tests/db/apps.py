"""Applications that do not want to end, or cannot begin."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

from rivermill import Job, Workers


@dataclass
class Stubborn:
    kind: ClassVar[str] = "stubborn"


@dataclass
class Deaf:
    kind: ClassVar[str] = "deaf"


workers = Workers()


@workers.work
def ignore_the_flag(job: Job[Stubborn]) -> None:
    time.sleep(600)


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
