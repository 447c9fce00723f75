"""The helpers of ``rivermill.testing`` on a real database: what they accept, and what they say when they do not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from rivermill import Client, InsertOpts, InsertParams, JobState
from rivermill.db import Connection
from rivermill.testing import Expected, migrated_schema, require_inserted, require_many_inserted, require_not_inserted

DUE = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Mail:
    to: str
    kind: ClassVar[str] = "mail"


@dataclass
class Scan:
    kind: ClassVar[str] = "scan"


@pytest.fixture
async def inserted(client: Client) -> list[int]:
    """A mail with every option, and two scans."""
    opts = InsertOpts(max_attempts=3, priority=2, queue="post", scheduled_at=DUE, tags=["one", "two"])
    results = await client.insert_many([InsertParams(Mail("ann"), opts), Scan(), Scan()])
    return [result.job.id for result in results]


def whole(**changes: Any) -> Expected:
    same: dict[str, Any] = {
        "args": Mail("ann"),
        "max_attempts": 3,
        "priority": 2,
        "queue": "post",
        "scheduled_at": DUE,
        "state": JobState.SCHEDULED,
        "tags": ["one", "two"],
    }
    return Expected(**(same | changes))


WRONG = [
    ({"args": Mail("bob")}, "args are Mail(to='ann'), not Mail(to='bob')"),
    ({"max_attempts": 4}, "max_attempts is 3, not 4"),
    ({"priority": 1}, "priority is 2, not 1"),
    ({"queue": "default"}, "queue is 'post', not 'default'"),
    ({"scheduled_at": DUE + timedelta(seconds=1)}, "scheduled_at is 2030-01-01 00:00:00+00:00, not 2030-01-01 00:00:01+00:00"),
    ({"state": JobState.AVAILABLE}, "state is scheduled, not available"),
    ({"tags": ["two", "one"]}, "tags is ['one', 'two'], not ['two', 'one']"),
    ({"queue": "default", "priority": 1}, "priority is 2, not 1; queue is 'post', not 'default'"),
]


@pytest.mark.parametrize("expected", [Mail, Mail("ann"), Expected(Mail), whole()])
async def test_the_job_that_is_expected_comes_back(client: Client, inserted: list[int], expected: Any) -> None:
    job = await require_inserted(client, expected)
    assert (job.id, job.args) == (inserted[0], Mail("ann"))
    with pytest.raises(AssertionError, match=rf"expected no such job of kind 'mail', there is {inserted[0]} \(mail in post"):
        await require_not_inserted(client, expected)


@pytest.mark.parametrize(("changes", "says"), WRONG)
async def test_another_job_is_told_by_what_differs(
    client: Client, inserted: list[int], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(AssertionError, match=rf"^job {inserted[0]} of kind 'mail' is another: {re.escape(says)}$"):
        await require_inserted(client, whole(**changes))
    await require_not_inserted(client, whole(**changes))


async def test_none_and_too_many_are_told_with_what_is_there(client: Client) -> None:
    with pytest.raises(AssertionError, match="expected one job of kind 'mail', there are 0; there is no job at all"):
        await require_inserted(client, Mail)
    await client.insert_many([Scan(), Scan()])
    with pytest.raises(
        AssertionError, match=r"kind 'mail', there are 0; the jobs are \d+ \(scan in default, available, {}\), "
    ):
        await require_inserted(client, Mail)
    with pytest.raises(AssertionError, match="expected one job of kind 'scan', there are 2"):
        await require_inserted(client, Scan)
    await require_not_inserted(client, Mail)


async def test_many(client: Client, inserted: list[int]) -> None:
    jobs = await require_many_inserted(client, [whole(), Scan, Expected(Scan, queue="default")])
    assert [job.id for job in jobs] == inserted
    await require_many_inserted(client, [Scan, Scan])
    for wrong in ([Scan], [Mail, Scan], [Scan, Mail, Scan]):
        with pytest.raises(AssertionError, match="expected jobs of the kinds"):
            await require_many_inserted(client, wrong)
    with pytest.raises(
        AssertionError, match=rf"job 1 of those expected: job {inserted[2]} of kind 'scan' is another: priority"
    ):
        await require_many_inserted(client, [Scan, Expected(Scan, priority=4)])
    with pytest.raises(ValueError, match="no jobs are expected"):
        await require_many_inserted(client, [])


async def test_an_open_transaction_is_looked_into(client: Client, connection: Connection) -> None:
    async with connection.transaction():
        await client.insert(Scan(), tx=connection)
        await require_inserted(client, Scan, tx=connection)
        await require_many_inserted(client, [Scan], tx=connection)
        await require_not_inserted(client, Scan)
        with pytest.raises(AssertionError):
            await require_not_inserted(client, Scan, tx=connection)


async def test_a_schema_is_whole_while_it_is_used_and_gone_afterwards(dsn: str, connection: Connection) -> None:
    async with migrated_schema(dsn) as first, migrated_schema(dsn) as second:
        client = Client(dsn, schema=first)
        await client.insert(Scan())
        await require_inserted(client, Scan)
        await client.stop()
        assert await connection.fetchval(f'SELECT count(*) FROM "{second}".river_job') == 0
        assert await connection.fetchval(f'SELECT count(*) FROM "{second}".rivermill_client') == 0
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.fetchval(f'SELECT count(*) FROM "{first}".river_job')


async def test_a_schema_goes_with_a_test_that_fails(dsn: str, connection: Connection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with migrated_schema(dsn) as name:
            raise ZeroDivisionError
    assert await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", name) == 0
