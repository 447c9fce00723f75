"""Indexes are rebuilt while the table is in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import pytest

from rivermill import load_settings
from rivermill.db import Connection
from rivermill.maintenance.reindexer import INDEXES_DEFAULT, Reindexer, artifacts_of
from rivermill.schema import Schema
from tests.db.run.support import eventually

KIND = "river_job_kind"


class Once:
    """Due at once, and never again."""

    def __init__(self) -> None:
        self.asked: list[datetime] = []
        self.finished = asyncio.Event()

    def next(self, after: datetime) -> datetime | None:
        self.asked.append(after)
        if len(self.asked) > 1:
            self.finished.set()
            return None
        return after + timedelta(microseconds=1)


async def files(connection: Connection, schema: Schema) -> dict[str, int]:
    rows = await connection.fetch(
        "SELECT relname::text AS name, relfilenode AS file FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
        "WHERE nspname = $1 AND relkind = 'i'",
        schema.name,
    )
    return {row["name"]: row["file"] for row in rows}


def reindexer(
    dsn: str, schema: Schema, schedule: Once, names: Sequence[str] = INDEXES_DEFAULT, **settings: object
) -> Reindexer:
    chosen = load_settings(
        dsn=dsn, schema=schema, environ={}, reindexer_schedule=schedule, reindexer_index_names=names, **settings
    )
    return Reindexer(chosen, "rivermill test")


async def test_every_index_is_rebuilt(dsn: str, connection: Connection, schema: Schema) -> None:
    before, schedule = await files(connection, schema), Once()
    await reindexer(dsn, schema, schedule).run()
    after = await files(connection, schema)
    assert {name for name in before if before[name] != after[name]} == set(INDEXES_DEFAULT)
    assert after.keys() == before.keys()
    # The next run is reckoned from the time that was meant.
    assert schedule.asked[1] - schedule.asked[0] < timedelta(seconds=1)


async def test_what_is_not_there_and_what_was_left_is_skipped(
    dsn: str, connection: Connection, schema: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    table = schema.table("river_job")
    await connection.execute(f"CREATE INDEX {KIND}_ccnew1 ON {table} (kind)")
    await connection.execute(f"DROP INDEX {schema.table('river_job_args_index')}")
    before = await files(connection, schema)
    await reindexer(dsn, schema, Once(), ["river_job_args_index", KIND, "river_job_pkey"]).run()
    after = await files(connection, schema)
    assert {name for name in before if before[name] != after[name]} == {"river_job_pkey"}
    warned = {record.__dict__.get("index") for record in caplog.records if record.levelno >= logging.WARNING}
    assert warned == {"river_job_args_index", KIND}
    assert any(record.__dict__.get("left") == [f"{KIND}_ccnew1"] for record in caplog.records)


async def test_a_rebuild_that_is_cancelled_leaves_nothing(dsn: str, connection: Connection, schema: Schema) -> None:
    holder = await asyncpg.connect(dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(f"SELECT 1 FROM {schema.table('river_job')}")  # a rebuild waits for whoever may look at the index
    running = asyncio.create_task(reindexer(dsn, schema, Once(), [KIND]).run())

    async def begun() -> bool:
        return bool(artifacts_of(KIND, list(await files(connection, schema))))

    await eventually(begun)
    running.cancel()
    await asyncio.sleep(0.1)
    await transaction.rollback()
    await holder.close()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not await begun()


async def test_a_rebuild_that_takes_too_long_is_given_up_and_the_others_go_on(
    dsn: str, connection: Connection, schema: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.execute(f"CREATE TABLE {schema.table('other')} (id int CONSTRAINT other_key PRIMARY KEY)")
    before = await files(connection, schema)
    holder = await asyncpg.connect(dsn)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {schema.table('river_job')} IN ROW EXCLUSIVE MODE")
            chosen = reindexer(dsn, schema, Once(), [KIND, "other_key"], reindexer_timeout=timedelta(seconds=0.5))
            await asyncio.wait_for(chosen.run(), 60)
    finally:
        await holder.close()
    after = await files(connection, schema)
    assert after["other_key"] != before["other_key"]
    assert after[KIND] == before[KIND]
    assert any("could not be rebuilt" in record.message for record in caplog.records)
