"""Services of the leader that take long hold up neither its term nor its jobs."""

from __future__ import annotations

import asyncpg

from rivermill import Job, JobState, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working


async def test_a_slow_service_costs_neither_the_term_nor_a_completion(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    leader = f"SELECT elected_at, expires_at FROM {schema.table('river_leader')}"
    stuck = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'rivermill %' "
        "AND query LIKE '%DELETE FROM%river_queue%'"
    )
    holder = await asyncpg.connect(dsn)
    try:
        async with working(dsn, connection, schema, workers) as bench:
            term = await eventually(lambda: connection.fetchrow(leader))
            async with holder.transaction():
                await holder.execute(f"LOCK TABLE {schema.table('river_queue')} IN ACCESS EXCLUSIVE MODE")
                await eventually(lambda: connection.fetchval(stuck))

                async def renewed() -> bool:
                    # Longer than a term lives that is not renewed.
                    now = await connection.fetchrow(leader)
                    return bool((now["expires_at"] - term["expires_at"]).total_seconds() > 2)

                await eventually(renewed)
                assert (await connection.fetchrow(leader))["elected_at"] == term["elected_at"]
                job = await bench.client.enqueue(Note())
                await bench.reaches(job.id, JobState.COMPLETED)
    finally:
        await holder.close()
