"""``rivermill bench`` on a real database, as a process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.test_cli import cli


@pytest.mark.parametrize(
    ("arguments", "figures"),
    [
        (("-n", "200"), {"mode": "burn-down", "jobs_worked": 200, "states": {"completed": 200}}),
        (
            ("many-queues", "-n", "200", "--queues", "20", "--slots", "40"),
            {"jobs_worked": 200, "states": {"completed": 200}},
        ),
        (("latency", "-n", "20"), {"jobs": 20}),
        (("insert", "-n", "100"), {}),
        (("mixed", "-n", "50"), {"jobs": 50, "states": {"completed": 50}}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_each_mode_works_all_its_jobs_and_leaves_nothing(
    dsn: str, connection: Connection, arguments: tuple[str, ...], figures: dict[str, Any]
) -> None:
    done = cli(dsn, "rivermill_bench", "bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured | figures == measured
    assert await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'rivermill_bench'") == 0


async def test_lines_and_a_table_are_printed_for_people(dsn: str) -> None:
    done = cli(dsn, "rivermill_bench", "bench", "continuous", "--duration", "1s")
    assert done.returncode == 0, done.stderr
    assert "bench: total jobs worked [" in done.stdout
    assert "jobs per second" in done.stdout


async def test_a_schema_that_exists_is_left_alone(dsn: str, schema: Schema, connection: Connection) -> None:
    done = cli(dsn, "", "bench", "-n", "10", "--schema", schema.name)
    assert (done.returncode, f"schema '{schema.name}' exists" in done.stderr) == (2, True)
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_job')}") == 0


async def test_bad_numbers_are_named(dsn: str) -> None:
    for arguments, message in ((("-n", "0"), "use 1 or more"), (("--rate", "-1"), "--rate -1.0: use a number")):
        done = cli(dsn, "rivermill_bench", "bench", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
