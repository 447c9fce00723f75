"""Workers that are not there: what each pod's worker would write to the database, written by the harness.

One of these stands for all pods of one database. A pod that is Ready gets a row in ``rivermill_client``, beats every ten
seconds, claims as many jobs as it has slots, ends them when their time is up, and drains when it is told to, as a worker does;
only the statements are few and for all pods at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.operator.api import STRATEGIC, Api, ApiError

CONTROL = "public.rivermill_control"
BEAT_SECONDS = 10
_TICK_SECONDS = 1.0
_FLOW_SECONDS = 0.5

_JOIN = """
    INSERT INTO rivermill_client (client_id, namespace, pod_name, pod_uid, host, pid, version, queues, slots)
    SELECT id, $5, pod, uid, pod, 1, 'benchmark', jsonb_build_object(queue,
        jsonb_build_object('max_workers', $6::int, 'priority', 1, 'ended', 0, 'failed', 0)), $6::int
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS joined (id, pod, uid, queue)
    ON CONFLICT (client_id) DO NOTHING
"""
_BEAT = """
    UPDATE rivermill_client AS client SET last_seen_at = now(), busy = beat.busy, state = beat.state
    FROM unnest($1::text[], $2::int[], $3::text[]) AS beat (id, busy, state) WHERE client_id = beat.id
"""
_END = """
    UPDATE river_job SET state = 'completed', finalized_at = now()
    WHERE state = 'running' AND attempted_at <= now() - make_interval(secs => $1::float8)
    RETURNING attempted_by[array_upper(attempted_by, 1)] AS client_id
"""
_CLAIM = """
    WITH slot AS (
        SELECT client_id, queue, row_number() OVER (PARTITION BY queue ORDER BY number, client_id) AS place
        FROM unnest($1::text[], $2::text[], $3::int[]) AS client (client_id, queue, free)
        CROSS JOIN LATERAL generate_series(1, client.free) AS number),
    job AS (
        SELECT wanted.queue, next.id, row_number() OVER (PARTITION BY wanted.queue ORDER BY next.id) AS place
        FROM (SELECT queue, count(*) AS free FROM slot GROUP BY queue) AS wanted
        CROSS JOIN LATERAL (
            SELECT id FROM river_job WHERE state = 'available' AND queue = wanted.queue AND scheduled_at <= now()
            ORDER BY priority, scheduled_at, id LIMIT wanted.free) AS next)
    UPDATE river_job SET state = 'running', attempt = attempt + 1, attempted_at = now(), attempted_by = ARRAY[slot.client_id]
    FROM slot JOIN job USING (queue, place) WHERE river_job.id = job.id RETURNING slot.client_id
"""
_INSERT = """
    WITH made AS (
        INSERT INTO river_job (kind, args, queue, max_attempts)
        SELECT 'none', '{}'::jsonb, queue, 25 FROM unnest($1::text[]) AS queue, generate_series(1, $2::int)
        RETURNING queue)
    SELECT pg_notify('public.river_insert', json_build_object('queue', queue)::text) FROM (SELECT DISTINCT queue FROM made) AS q
"""


@dataclass(slots=True)
class Worker:
    """One pod's worker; ``row`` says that it has one."""

    client_id: str
    namespace: str
    pod: str
    uid: str
    queue: str
    state: str = "accepting"
    running: int = 0
    row: bool = False
    gone: bool = False


class FakeFleet:
    """The workers of one database.

    Args:
        api: for the readiness of pods that drain.
        url: of the database.
        slots: of each worker.
        job_seconds: what a job takes.
    """

    def __init__(self, api: Api, url: str, slots: int, job_seconds: float) -> None:
        self._api = api
        self._url = url
        self._slots = slots
        self._job_seconds = job_seconds
        self._workers: dict[str, Worker] = {}
        self.interrupted = 0

    @property
    def working(self) -> int:
        """Workers that have a row."""
        return sum(worker.row and not worker.gone for worker in self._workers.values())

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        """A change of one of its pods."""
        meta = pod["metadata"]
        uid = meta["uid"]
        if kind == "DELETED" or meta.get("deletionTimestamp"):
            if uid in self._workers:
                self._workers[uid].gone = True
            return
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())
        if ready and uid not in self._workers:
            name, queue = meta["name"], meta["labels"]["rivermill.dev/jobqueue"]
            self._workers[uid] = Worker(f"{name}_{uid[:8]}", meta["namespace"], name, uid, queue)

    async def insert(self, queues: list[str], jobs: int) -> float:
        """So many jobs into each queue, in one transaction; returns the time of its end, of ``time.time``."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_INSERT, queues, jobs)
            return time.time()
        finally:
            await connection.close()

    async def flow(self, queues: list[str]) -> None:
        """One job a queue, again and again, until cancelled."""
        connection = await asyncpg.connect(self._url)
        try:
            while True:
                await connection.execute(_INSERT, queues, 1)
                await asyncio.sleep(_FLOW_SECONDS)
        finally:
            await connection.close()

    async def run(self) -> None:
        """Work until cancelled."""
        connection = await asyncpg.connect(self._url, server_settings={"application_name": "fake fleet"})
        turn = 0
        try:
            while True:
                began = time.monotonic()
                await self._join(connection)
                await self._leave(connection)
                await self._beat(connection, turn)
                await self._obey(connection)
                await self._work(connection)
                turn += 1
                await asyncio.sleep(max(0.05, began + _TICK_SECONDS - time.monotonic()))
        finally:
            await connection.close()

    async def _join(self, connection: Any) -> None:
        new = [worker for worker in self._workers.values() if not worker.row and not worker.gone]
        for namespace in {worker.namespace for worker in new}:
            own = [worker for worker in new if worker.namespace == namespace]
            columns = zip(*((w.client_id, w.pod, w.uid, w.queue) for w in own), strict=True)
            await connection.execute(_JOIN, *map(list, columns), namespace, self._slots)
        for worker in new:
            worker.row = True
        await self._tell(connection, new)

    async def _leave(self, connection: Any) -> None:
        gone = [worker for worker in self._workers.values() if worker.gone]
        if not gone:
            return
        self.interrupted += sum(worker.running for worker in gone)
        ids = [worker.client_id for worker in gone]
        await connection.execute(
            "UPDATE river_job SET state = 'available' WHERE state = 'running' AND attempted_by[1] = ANY($1::text[])", ids
        )
        await connection.execute("DELETE FROM rivermill_client WHERE client_id = ANY($1::text[])", ids)
        for worker in gone:
            del self._workers[worker.uid]

    async def _beat(self, connection: Any, turn: int) -> None:
        """A tenth of the workers each second, as workers that started at any time do."""
        due = [w for place, w in enumerate(self._workers.values()) if place % BEAT_SECONDS == turn % BEAT_SECONDS]
        await self._write(connection, due)

    async def _write(self, connection: Any, workers: list[Worker]) -> None:
        if workers:
            columns = zip(*((w.client_id, w.running, w.state) for w in workers), strict=True)
            await connection.execute(_BEAT, *map(list, columns))

    async def _obey(self, connection: Any) -> None:
        """Stop claiming where the operator says so, and drain; come back likewise."""
        by_id = {worker.client_id: worker for worker in self._workers.values()}
        rows = await connection.fetch(
            "SELECT client_id, wanted_state FROM rivermill_client WHERE wanted_state <> 'accepting' OR state <> 'accepting'"
        )
        changed = []
        for row in rows:
            worker = by_id.get(row["client_id"])
            if worker is None:
                continue
            state = "accepting"
            if row["wanted_state"] == "cordoned":
                state = "cordoned" if worker.running else "drained"
            if state == worker.state:
                continue
            if "accepting" in (state, worker.state):
                await self._ready(worker, state == "accepting")
            worker.state = state
            changed.append(worker)
        await self._write(connection, changed)
        await self._tell(connection, changed)

    async def _ready(self, worker: Worker, ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready)}
        path = f"/api/v1/namespaces/{worker.namespace}/pods/{worker.pod}/status"
        with contextlib.suppress(ApiError):  # it is gone
            await self._api.send("PATCH", path, {"status": {"conditions": [condition]}}, STRATEGIC)

    async def _tell(self, connection: Any, workers: list[Worker]) -> None:
        """A notification for each change of a worker's state, as workers send it."""
        payloads = [json.dumps({"action": "state", "client_id": w.client_id, "state": w.state}) for w in workers]
        if payloads:
            await connection.execute("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", CONTROL, payloads)

    async def _work(self, connection: Any) -> None:
        by_id = {worker.client_id: worker for worker in self._workers.values()}
        for row in await connection.fetch(_END, self._job_seconds):
            if row["client_id"] in by_id:
                by_id[row["client_id"]].running -= 1
        free = [w for w in by_id.values() if w.row and w.state == "accepting" and not w.gone and w.running < self._slots]
        if not free:
            return
        columns = zip(*((w.client_id, w.queue, self._slots - w.running) for w in free), strict=True)
        for row in await connection.fetch(_CLAIM, *map(list, columns)):
            by_id[row["client_id"]].running += 1
