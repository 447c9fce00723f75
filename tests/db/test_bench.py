"""``rivermill bench`` on a real database, as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from rivermill import Job, Workers
from rivermill.bench import modes
from rivermill.bench.board import Board
from rivermill.bench.ending import Ending
from rivermill.bench.modes import BATCH, BenchmarkArgs, Load, burn_down
from rivermill.bench.place import new_place
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import eventually
from tests.db.test_cli import cli

_LINE = re.compile(r"bench: jobs worked \[ [ \d]{10} \], inserted \[ [ \d]{10} \], job/sec \[ [ \d.]{10} \] \[([02])s\]")
_TOTALS = re.compile(
    r"bench: total jobs worked \[ ([ \d]{10}) \], total jobs inserted \[ ([ \d]{10}) \], "
    r"overall job/sec \[ ([ \d.]{10}) \], running [\dhm.]+s"
)


async def _left(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'rivermill_bench'")
    return count


@pytest.mark.parametrize(
    ("arguments", "figures"),
    [
        (("-n", "200"), {"mode": "burn-down", "jobs_worked": 200, "states": {"completed": 200}}),
        (("--num-total-jobs", "200", "--duration", "1m"), {"mode": "burn-down", "states": {"completed": 200}}),
        (
            ("many-queues", "-n", "200", "--queues", "20", "--slots", "40"),
            {"jobs_worked": 200, "states": {"completed": 200}},
        ),
        (("latency", "-n", "20"), {"jobs": 20, "states": {"completed": 20}}),
        (("insert", "-n", "100"), {"states": {"available": 205}}),
        (("mixed", "-n", "50"), {"jobs": 50, "states": {"completed": 50}}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_each_mode_works_all_its_jobs_and_leaves_nothing(
    dsn: str, connection: Connection, arguments: tuple[str, ...], figures: dict[str, Any]
) -> None:
    done = cli(dsn, "rivermill_bench", "bench", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    measured = json.loads(done.stdout)
    assert measured | figures == measured
    assert await _left(connection) == 0


async def test_lines_and_totals_are_those_of_river_and_the_table_says_the_same(dsn: str) -> None:
    done = cli(dsn, "rivermill_bench", "bench", "--duration", "2500ms")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    first, *others = [found[1] for line in lines if (found := _LINE.fullmatch(line))]
    assert (first, set(others)) == ("0", {"2"})
    assert "], inserted [      75000 ], job/sec [" in lines[0]
    (totals,) = filter(None, map(_TOTALS.fullmatch, lines))
    table = dict(re.findall(r"^(.*?) {2,}(\S+)$", done.stdout, re.MULTILINE))
    assert int(table["jobs worked"]) == int(totals[1])
    assert float(table["jobs per second"].replace(",", "")) == pytest.approx(float(totals[3]), abs=0.06)
    assert int(table["states completed"]) >= int(totals[1])
    assert int(table["states completed"]) + int(table["states available"]) == int(totals[2])


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (signal.SIGTERM, ()),
        (signal.SIGINT, ("--json",)),
        (signal.SIGINT, ("latency", "-n", "100000")),
        (signal.SIGTERM, ("mixed", "-n", "100000")),
    ],
)
async def test_a_signal_ends_it_with_the_figures_so_far(
    dsn: str, connection: Connection, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    with _running(dsn, *arguments) as process:
        await _until_worked(connection)
        process.send_signal(number)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, err) == (0, "")
    if "--json" in arguments:
        assert json.loads(out)["jobs_worked"] > 0
    else:
        assert [line for line in out.splitlines() if _TOTALS.fullmatch(line)]
        assert "\nstates completed " in out
    assert await _left(connection) == 0


async def test_a_second_signal_gives_up_and_cleans_up(dsn: str, connection: Connection) -> None:
    with _running(dsn) as process:
        await _until_worked(connection)
        async with connection.transaction():
            await connection.execute("LOCK TABLE rivermill_bench.river_job IN ACCESS EXCLUSIVE MODE")
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 130
    assert await _left(connection) == 0


async def test_a_lost_job_is_not_waited_for_and_said(dsn: str, connection: Connection) -> None:
    async with new_place(dsn, "rivermill_bench") as place:
        await connection.execute(
            "CREATE FUNCTION rivermill_bench.late() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.scheduled_at = now() + interval '1 day'; RETURN NEW; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER late BEFORE INSERT ON rivermill_bench.river_job FOR EACH ROW WHEN (NEW.args->>'num' = '7') "
            "EXECUTE FUNCTION rivermill_bench.late()"
        )
        load = Load(jobs=20, slots=10, patience=3)
        measured = await burn_down(place, load, Board(Ending(), None))
    assert measured.wrong == "of 20 jobs inserted, 1 available: all should be completed"


async def test_a_job_that_is_given_back_is_not_worked(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was claimed ahead is, when a job blocks the loop."""
    workers, registries = Workers(), set[CollectorRegistry]()

    @workers.work
    async def work(job: Job[BenchmarkArgs]) -> None:
        await asyncio.sleep(0.005)
        if job.args.num % 250 == 200:
            assert job.client._runtime is not None
            registries.add(job.client._runtime.metrics.registry)
            time.sleep(0.3)  # noqa: ASYNC251 - on purpose

    monkeypatch.setattr(modes, "_noop", lambda: workers)
    async with new_place(dsn, "rivermill_bench") as place:
        measured = await burn_down(place, Load(jobs=1_000, slots=10), Board(Ending(), None))
    (registry,) = registries
    assert registry.get_sample_value("rivermill_returned_jobs_total")
    assert (measured.wrong, measured.figures["states"]) == ("", {"completed": 1_000})
    assert measured.figures["jobs_worked"] == 1_000


async def test_time_that_is_up_ends_a_burn_down(dsn: str) -> None:
    async with new_place(dsn, "rivermill_bench") as place:
        measured = await burn_down(place, Load(jobs=2 * BATCH, slots=10), Board(Ending(0.000001), None))
    assert measured.wrong == ""
    states = measured.figures["states"]
    assert isinstance(states, dict)
    assert states.keys() <= {"available", "completed"}


async def test_a_schema_that_exists_is_left_alone(dsn: str, schema: Schema, connection: Connection) -> None:
    done = cli(dsn, "", "bench", "-n", "10", "--schema", schema.name)
    assert (done.returncode, f"schema '{schema.name}' exists" in done.stderr) == (2, True)
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_job')}") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", "0"), "use 1 or more"),
        (("latency", "--rate", "-1"), "--rate -1.0: use a number"),
        (("--rate", "10"), "--rate: continuous mode has none; it is for latency, mixed"),
        (("continuous", "-n", "5"), "-n: continuous mode has none; it is for burn-down, latency"),
        (("insert", "--slots", "5"), "--slots: insert mode has none"),
        (("-n", "5", "--queues", "2"), "--queues: burn-down mode has none; it is for many-queues"),
    ],
)
async def test_what_is_asked_wrongly_is_named(dsn: str, arguments: tuple[str, ...], message: str) -> None:
    done = cli(dsn, "rivermill_bench", "bench", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@contextmanager
def _running(dsn: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "bench", *arguments]
    env = os.environ | {"DATABASE_URL": dsn}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def _until_worked(connection: Connection) -> None:
    async def worked() -> bool:
        with suppress(asyncpg.UndefinedTableError):
            done: bool = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM rivermill_bench.river_job WHERE state = 'completed')"
            )
            return done
        return False

    await eventually(worked, timeout=60)
