"""``rivermill work`` as a process that is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rivermill import Client
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.apps import Deaf, Patient, Stubborn

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def started(dsn: str, schema: Schema, app: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    settings = {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema.name, "RIVER_QUEUES": "default:2", "RIVER_SHUTDOWN_TIMEOUT": "0.1"}
    command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "work", app]
    process = subprocess.Popen(
        command,
        env=os.environ | settings | more,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def told_to_stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, said


def ignored_signals(process: subprocess.Popen[str]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), 16)


@pytest.mark.parametrize("args", [Stubborn(), Deaf()], ids=["thread", "loop"])
async def test_it_does_not_outlive_its_heartbeat(dsn: str, connection: Connection, schema: Schema, args: Any) -> None:
    """A job that ignores the stop ends with the process, so that it has ended when others rescue it."""
    async with Client(dsn, schema=schema) as client:
        job = await client.insert(args)
    with started(dsn, schema, "tests.db.apps:workers") as process:
        state = f"SELECT state::text FROM {schema.table('river_job')} WHERE id = $1"
        while await connection.fetchval(state, job.job.id) != "running":
            assert process.poll() is None
            await asyncio.sleep(0.05)
        code, said = await told_to_stop(process)
    assert (code, "the process ends, and with it the jobs that go on" in said) == (1, True)
    assert await connection.fetchval(state, job.job.id) == "running"
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 1


@pytest.fixture
def hangup(request: pytest.FixtureRequest) -> Iterator[None]:
    """SIGHUP as the parameter has it for processes that are started here, however the tests themselves were started."""
    before = signal.signal(signal.SIGHUP, request.param)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("hangup", [signal.SIG_DFL], indirect=True, ids=["default"])
async def test_a_terminal_that_is_closed_ends_no_job(dsn: str, connection: Connection, schema: Schema, tmp_path: Path) -> None:
    """Its SIGHUP comes twice, and to the processes of jobs too."""
    state, stopping = f"SELECT state::text FROM {schema.table('river_job')}", "client stops"
    async with Client(dsn, schema=schema) as client:
        await client.insert(Patient(str(tmp_path)))
    with started(dsn, schema, "tests.db.apps:workers", RIVER_SHUTDOWN_TIMEOUT="60s") as process:
        assert process.stderr is not None
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            await asyncio.sleep(0.05)
        os.killpg(process.pid, signal.SIGHUP)
        while stopping not in await asyncio.to_thread(process.stderr.readline):
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGHUP)
        await asyncio.sleep(0.5)
        assert await connection.fetchval(state) == "running"
        (tmp_path / "end").touch()
        await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, await connection.fetchval(state)) == (0, "completed")


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("hangup", [signal.SIG_IGN], indirect=True, ids=["ignored"])
async def test_under_nohup_it_outlives_its_terminal(dsn: str, schema: Schema) -> None:
    with started(dsn, schema, "tests.db.apps:never_ready") as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "waiting\n"
        assert ignored_signals(process) & 1 << signal.SIGHUP - 1


@pytest.mark.parametrize(("listens", "polls_only"), [(1, "false"), (0, "true")])
async def test_it_takes_its_settings_from_the_environment(
    dsn: str, connection: Connection, schema: Schema, listens: int, polls_only: str
) -> None:
    working = f"SELECT count(*) FROM {schema.table('rivermill_client')}"
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND query LIKE '%' || $1 || '%'"
    with started(dsn, schema, "tests.db.apps:workers", RIVER_POLL_ONLY=polls_only) as process:
        while await connection.fetchval(working) == 0:
            assert process.poll() is None
            await asyncio.sleep(0.05)
        assert await connection.fetchval(listening, schema.name) == listens
        assert (await told_to_stop(process))[0] == 0


async def test_it_says_which_variable_is_wrong(dsn: str, schema: Schema) -> None:
    with started(dsn, schema, "tests.db.apps:workers", RIVER_JOB_TIMEOUT="soon") as process:
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert "RIVER_JOB_TIMEOUT 'soon': use a duration above zero" in said
    assert process.returncode == 2


async def test_it_can_be_stopped_before_the_application_is_there(dsn: str, schema: Schema) -> None:
    with started(dsn, schema, "tests.db.apps:never_ready") as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "waiting\n"
        assert (await told_to_stop(process))[0] == 0


async def test_it_can_be_stopped_before_the_database_answers(schema: Schema) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        dsn = f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/library"
        with started(dsn, schema, "tests.db.apps:workers") as process:
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                code, said = await told_to_stop(process)
    assert (code, "stopped before the client had started" in said) == (0, True)
