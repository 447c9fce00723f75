"""Ctrl-C that lands in an async worker, in a program that leaves it to ``asyncio.run``."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from rivermill.db import Connection
from rivermill.schema import Schema

PROGRAM = """
import asyncio, signal, sys
from dataclasses import dataclass
from typing import ClassVar

from rivermill import Client, InsertOpts, Job, Workers

@dataclass
class Press:
    kind: ClassVar[str] = "press"

workers = Workers()

@workers.work
async def press(job: Job[Press]) -> None:
    signal.raise_signal(signal.SIGINT)  # cancels main, which the worker does not let go on
    signal.raise_signal(signal.SIGINT)  # raises KeyboardInterrupt here

async def main() -> None:
    async with Client(sys.argv[1], schema=sys.argv[2], workers=workers, queues={"default": 1}) as client:
        await client.insert(Press(), InsertOpts(max_attempts=1))
        await asyncio.Event().wait()

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
asyncio.run(main())
"""


async def test_it_fails_the_job_and_ends_the_program_in_order(
    dsn: str, connection: Connection, schema: Schema, tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, str(path), dsn, schema.name]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (-signal.SIGINT, "KeyboardInterrupt")
    row = await connection.fetchrow(f"SELECT state::text, errors[1] ->> 'error' AS error FROM {schema.table('river_job')}")
    assert row is not None
    assert (row["state"], row["error"]) == ("discarded", "KeyboardInterrupt")
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 0
