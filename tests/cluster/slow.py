"""The application of the pods: each job sleeps as long as it says; the pods import it from a ConfigMap."""

from __future__ import annotations

import asyncio
import os
from typing import ClassVar

import msgspec

from rivermill import NO_TIMEOUT, Job, Worker, Workers


class Sleep(msgspec.Struct):
    kind: ClassVar[str] = "sleep"
    seconds: float = 0.0


class SleepWorker(Worker[Sleep]):
    timeout = NO_TIMEOUT

    async def work(self, job: Job[Sleep]) -> None:
        await asyncio.sleep(job.args.seconds)
        if "BROKEN" in os.environ:
            raise RuntimeError("this release is broken")


workers = Workers()
workers.add(SleepWorker())
