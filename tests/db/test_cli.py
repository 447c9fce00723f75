"""The command line on a real database, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema


def cli(dsn: str, schema: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema}
    command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


async def test_command_line(dsn: str, connection: Connection) -> None:
    schema = "FromTheShell"
    try:
        assert cli(dsn, schema, "migrate", "validate").returncode == 1
        assert "applied migration main 008 [up]" in cli(dsn, schema, "migrate", "up").stdout
        assert "* main 001" in cli(dsn, schema, "migrate", "list").stdout
        made = json.loads(cli(dsn, schema, "enqueue", "mail", '{"to": "x"}', "--priority", "2", "--json").stdout)
        number = str(made[0]["id"])
        assert f"{number} " in cli(dsn, schema, "job", "list", "--state", "available").stdout
        assert "cancelled" in cli(dsn, schema, "job", "cancel", number).stdout
        assert "available" in cli(dsn, schema, "job", "retry", number).stdout
        assert cli(dsn, schema, "job", "get", number).returncode == 0
        assert cli(dsn, schema, "job", "delete", number).returncode == 0
        assert cli(dsn, schema, "queue", "list").returncode == 0
        missing = cli(dsn, schema, "job", "get", "999")
        assert (missing.returncode, missing.stderr) == (
            1,
            "rivermill: job 999: there is no such job in schema FromTheShell\n",
        )
        wrong = cli(dsn, schema, "enqueue", "mail", "[]")
        assert (wrong.returncode, "must be a JSON object" in wrong.stderr) == (2, True)
        app = cli(dsn, schema, "work", "nothing.here:app")
        assert (app.returncode, "cannot import nothing.here" in app.stderr) == (2, True)
        assert "applied migration main 008 [down]" in cli(dsn, schema, "migrate", "down").stdout
    finally:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


async def test_unique_jobs_and_metadata(dsn: str, schema: Schema) -> None:
    def enqueue(args: str, *more: str) -> tuple[int, str]:
        done = cli(dsn, schema.name, "enqueue", "mail", args, "--unique", "args.to", "--unique", "queue", "--json", *more)
        return json.loads(done.stdout)[0]["id"], done.stderr

    first, said = enqueue('{"to": "ann", "n": 1}', "--metadata", '{"from": "me"}', "--tag", "one")
    assert said == ""
    assert enqueue('{"to": "ann", "n": 2}') == (first, f"nothing inserted: job {first} is the same\n")
    second = enqueue('{"to": "bob"}', "--tag", "two")[0]
    assert second > first

    def listed(*options: str) -> list[int]:
        return [job["id"] for job in json.loads(cli(dsn, schema.name, "job", "list", "--json", *options).stdout)]

    assert listed("--metadata", '{"from": "me"}') == [first]
    assert listed("--any-tag", "one", "--any-tag", "two") == [first, second]
    assert listed("--tag", "two") == listed("--id", str(second)) == [second]
    assert listed("--priority", "2") == []
    page = cli(dsn, schema.name, "job", "list", "--limit", "1")
    assert page.stderr.startswith("there may be more: --after ")
    assert listed("--after", page.stderr.split()[-1]) == [second]


async def test_pausing_says_what_is_paused(dsn: str, connection: Connection, schema: Schema) -> None:
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('a'), ('b')")
    assert cli(dsn, schema.name, "queue", "pause", "a").stdout == "queue a paused\n"
    resumed = json.loads(cli(dsn, schema.name, "queue", "resume", "*", "--json").stdout)
    assert [(queue["name"], queue["paused_at"]) for queue in resumed] == [("a", None), ("b", None)]


async def test_limits_and_sequences(dsn: str, connection: Connection, schema: Schema) -> None:
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('mail')")
    assert cli(dsn, schema.name, "queue", "limit", "mail", "1:args.to").stdout == "queue mail: limit 1:args.to\n"
    (queue,) = json.loads(cli(dsn, schema.name, "queue", "rate-limit", "mail", "100/1m", "--json").stdout)
    assert {key: value["partition"] for key, value in queue["metadata"].items()} == {
        "concurrency": {"by_args": ["to"]},
        "rate_limit": {},
    }
    assert cli(dsn, schema.name, "queue", "limit", "mail", "NONE").returncode == 0
    (queue,) = json.loads(cli(dsn, schema.name, "queue", "list", "--json").stdout)
    assert list(queue["metadata"]) == ["rate_limit"]
    wrong = cli(dsn, schema.name, "queue", "rate-limit", "mail", "100")
    assert (wrong.returncode, wrong.stderr) == (2, "rivermill: LIMIT '100': write starts/period, e.g. 100/1s\n")
    missing = cli(dsn, schema.name, "queue", "limit", "nobody", "1")
    assert (missing.returncode, "there is no such queue" in missing.stderr) == (1, True)
    sequence = ("enqueue", "mail", '{"to": "ann"}', "--sequence", "args.to", "--continue-on", "discarded", "--json")
    found = [json.loads(cli(dsn, schema.name, *sequence).stdout)[0] for _ in range(2)]
    assert [job["state"] for job in found] == ["available", "pending"]
    assert found[0]["metadata"]["rivermill:sequence_continue_on"] == ["discarded"]


@pytest.mark.parametrize(
    "command", [("enqueue", "mail"), ("job", "get", "1"), ("job", "list"), ("queue", "list"), ("queue", "pause", "a")]
)
async def test_tables_that_are_not_there(dsn: str, empty_schema: Schema, command: tuple[str, ...]) -> None:
    done = cli(dsn, empty_schema.name, *command)
    assert done.returncode == 1
    assert done.stderr.startswith("rivermill: relation ")
    assert "run `rivermill migrate up`" in done.stderr
    assert "Traceback" not in done.stderr


@asynccontextmanager
async def a_user(connection: Connection, dsn: str, name: str) -> AsyncIterator[str]:
    """The URL of a user who may do nothing but what PUBLIC may."""
    await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    parts = urlsplit(dsn)
    try:
        yield urlunsplit(parts._replace(netloc=f"{name}:x@{parts.netloc.rpartition('@')[2]}"))
    finally:
        await connection.execute(f"DROP OWNED BY {name} CASCADE")
        await connection.execute(f"DROP ROLE {name}")


async def test_what_a_user_may_not_do_is_said(dsn: str, connection: Connection, schema: Schema) -> None:
    async with a_user(connection, dsn, "reader") as url:
        done = cli(url, schema.name, "job", "list")
        assert (done.returncode, "permission denied" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
        await connection.execute(f'GRANT USAGE ON SCHEMA "{schema.name}" TO reader')
        done = cli(url, schema.name, "migrate", "storage", "--tune")
        assert (
            done.returncode,
            done.stderr.endswith("must be owner of table river_job: let the owner of the table run it\n"),
        ) == (1, True)


async def test_the_owner_of_a_schema_may_migrate_it(dsn: str, connection: Connection) -> None:
    """Without the right to make schemas, which IF NOT EXISTS wants also where it makes none."""
    async with a_user(connection, dsn, "owner_only") as url:
        refused = cli(url, "Theirs", "migrate", "up")
        assert (refused.returncode, 'CREATE SCHEMA "Theirs" AUTHORIZATION' in refused.stderr) == (1, True)
        await connection.execute('CREATE SCHEMA "Theirs" AUTHORIZATION owner_only')
        done = cli(url, "Theirs", "migrate", "up")
        assert (done.stderr, done.returncode) == ("", 0)
        assert cli(url, "Theirs", "enqueue", "mail").returncode == 0
