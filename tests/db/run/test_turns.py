"""What two transactions do to each other in a sequence: a turn is given on once, and no job that waits is forgotten."""

from __future__ import annotations

import asyncio

from rivermill import Client, JobState
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill.sequences import Turns
from tests.db.run.parts import left, part, states
from tests.db.run.support import waits_for_lock


async def begun(client: Client, connection: Connection, schema: Schema) -> tuple[int, bytes]:
    """A sequence whose only job is completed; returns the job and the sequence."""
    job_id = (await client.insert_many([part()]))[0].job.id
    await connection.execute(f"UPDATE {schema.table('river_job')} SET state = 'completed', finalized_at = now()")
    return job_id, await connection.fetchval(f"SELECT key FROM {schema.table('rivermill_sequence')}")


async def test_a_job_inserted_while_its_sequence_ends_begins_it_anew(
    dsn: str, connection: Connection, other: Connection, schema: Schema
) -> None:
    async with Client(dsn, schema=schema) as client:
        _, key = await begun(client, connection, schema)
        ending = other.transaction()
        await ending.start()
        await Turns(schema).advance(other, [key])
        inserting = asyncio.create_task(client.insert_many([part()], tx=connection))
        await waits_for_lock(dsn, connection)
        await ending.commit()
        assert (await inserting)[0].job.state is JobState.AVAILABLE
    assert await left(connection, schema) == [1, 0]


async def test_a_job_whose_sequence_ended_unseen_is_found_and_goes_before_later_ones(
    dsn: str, connection: Connection, other: Connection, schema: Schema
) -> None:
    turns = Turns(schema)
    async with Client(dsn, schema=schema) as client:
        _, key = await begun(client, connection, schema)
        inserting = other.transaction()
        await inserting.start()
        unseen = (await client.insert_many([part()], tx=other))[0].job
        assert unseen.state is JobState.PENDING
        assert await turns.advance(connection, [key]) == set()
        assert await left(connection, schema) == [0, 0]
        await inserting.commit()
        assert await turns.find(connection) == ([], [key])
        later = (await client.insert_many([part()]))[0].job
        assert later.state is JobState.PENDING
        assert (await client.job_get(unseen.id)).state is JobState.AVAILABLE
    assert await turns.find(connection) == ([], [])


async def test_of_two_that_begin_a_sequence_one_waits_for_the_other(
    dsn: str, connection: Connection, other: Connection, schema: Schema
) -> None:
    async with Client(dsn, schema=schema) as client:
        for commits in (True, False):
            of = f"commits {commits}"
            first = connection.transaction()
            await first.start()
            await client.insert_many([part(of)], tx=connection)
            second = asyncio.create_task(client.insert_many([part(of)], tx=other))
            await waits_for_lock(dsn, other)
            await (first.commit() if commits else first.rollback())
            state = JobState.PENDING if commits else JobState.AVAILABLE
            assert (await second)[0].job.state is state


async def test_a_turn_is_given_on_once_and_to_the_lowest_id_that_is_committed(
    dsn: str, connection: Connection, other: Connection, schema: Schema
) -> None:
    """The second begins before the first has committed, waits for it, and sees what it did and what came meanwhile."""
    turns = Turns(schema)
    async with Client(dsn, schema=schema) as client:
        _, key = await begun(client, connection, schema)
        next_ids = [result.job.id for result in await client.insert_many([part(), part()])]
        first = connection.transaction()
        await first.start()
        assert await turns.advance(connection, [key]) == {"default"}
        second = asyncio.create_task(turns.advance(other, [key]))
        await waits_for_lock(dsn, other)
        await first.commit()
        assert await second == set()
        assert await states(connection, schema) == ["completed", "available", "pending"]
        await connection.execute(
            f"UPDATE {schema.table('river_job')} SET state = 'completed', finalized_at = now() WHERE id = $1", next_ids[0]
        )
        assert await turns.find(connection) == ([key], [])
        assert await turns.advance(connection, [key]) == {"default"}
        assert await states(connection, schema) == ["completed", "completed", "available"]


async def test_a_job_that_somebody_has_locked_has_its_turn_later(
    dsn: str, connection: Connection, other: Connection, schema: Schema
) -> None:
    turns = Turns(schema)
    async with Client(dsn, schema=schema) as client:
        _, key = await begun(client, connection, schema)
        locked = (await client.insert_many([part()]))[0].job.id
        locking = other.transaction()
        await locking.start()
        await other.execute(f"SELECT FROM {schema.table('river_job')} WHERE id = $1 FOR UPDATE", locked)
        assert await turns.advance(connection, [key]) == set()
        assert await states(connection, schema) == ["completed", "pending"]
        await locking.rollback()
        assert await turns.find(connection) == ([key], [])
        assert await turns.advance(connection, [key]) == {"default"}
        assert await states(connection, schema) == ["completed", "available"]
