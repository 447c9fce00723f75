"""What the operator reads, on a real database."""

from __future__ import annotations

from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill_operator.model.observed import QueueProbe
from rivermill_operator.store.database import Database, PostgresStore


async def test_queues_clients_arrivals_and_durations(dsn: str, connection: Connection, schema: Schema) -> None:
    table = f'"{schema.name}".river_job'
    database = Database(dsn)
    store = PostgresStore(database, schema.name)
    probes = (QueueProbe("default", 10, 60.0),)
    try:
        assert (await store.observe(probes, [])).queues[0].waiting == 0
        await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'k', '{{}}' FROM generate_series(1, 20)")
        await connection.execute(
            f"INSERT INTO {table} (kind, args, state, scheduled_at) VALUES ('k', '{{}}', 'scheduled', now() + interval '30 s')"
        )
        await connection.execute(
            f"INSERT INTO {table} (kind, args, state, attempted_at, attempted_by) "
            "VALUES ('k', '{}', 'running', now() - interval '5 s', '{old,c1}')"
        )
        await connection.execute(
            f"INSERT INTO {table} (kind, args, state, attempted_at, finalized_at) "
            "VALUES ('k', '{}', 'completed', now() - interval '9 s', now() - interval '5 s')"
        )
        await connection.execute(
            f'INSERT INTO "{schema.name}".rivermill_client (client_id, pod_uid, host, pid, version, queues, slots) '
            "VALUES ('c1', 'u1', 'h', 1, '1', '{}', 5)"
        )
        seen = await store.observe(probes, ["u1"])
        (queue,) = seen.queues
        assert (queue.waiting, queue.bounded, queue.running, queue.due_soon) == (10, True, 1, 1)
        assert queue.running_seconds >= 5
        assert queue.arrived == 22
        assert (queue.finished.jobs, round(queue.finished.seconds), round(queue.finished.seconds_squared)) == (1, 4, 16)
        assert [(c.client_id, c.running, c.running_by_queue) for c in seen.clients] == [("c1", 1, {"default": 1})]
        again = await store.observe(probes, ["u1"])
        assert (again.queues[0].arrived, again.queues[0].finished.jobs) == (22, 1)
    finally:
        await database.close()
