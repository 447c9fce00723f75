"""Writes down when each attempt starts and ends, so that it can be seen from outside which ran at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from rivermill import Job, Middleware


class Noting(Middleware):
    """One line an event, written at once: a killed process has said what it ran.

    Args:
        path: the file.
        client: the client's id.
    """

    def __init__(self, path: str, client: str) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._client = client

    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        self._note(job, "started")
        try:
            await inner()
        finally:
            self._note(job, "ended")

    def _note(self, job: Job[Any], event: str) -> None:
        line = {"attempt": job.attempt, "at_ns": time.time_ns(), "client": self._client, "event": event, "job": job.id}
        os.write(self._file, json.dumps(line).encode() + b"\n")
