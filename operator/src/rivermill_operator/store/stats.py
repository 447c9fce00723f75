"""The bounded, indexed statements of one database, over one connection that all its JobQueues share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from rivermill_operator.model.observed import SILENT_SECONDS, ClientView, Finished, QueueDepth, QueueProbe, StoreView
from rivermill_operator.store.flow import Flow
from rivermill_operator.store.port import StoreError

APPLICATION = "rivermill-operator"
STATEMENT_SECONDS = 2.0
CONNECT_SECONDS = 5.0
#: The oldest and the newest version of River's line that the statements work with.
MAIN_OLDEST = 6

_SETTINGS = {
    "application_name": APPLICATION,
    "statement_timeout": str(int(STATEMENT_SECONDS * 1000)),
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
}

#: asyncpg raises its internal error when a connection is cut in the midst of a statement.
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


async def connect(dsn: str) -> Any:
    """Open a connection.

    Raises:
        StoreError: it cannot be opened; the message never holds the password.
    """
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS + 3, server_settings=_SETTINGS
        )
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
        ValueError,
    ) as error:
        raise explain(error) from None


def explain(error: BaseException) -> StoreError:
    """Name what is wrong with a database, in the words of a condition."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        ((asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError), "AuthenticationFailed"),
        (asyncpg.InvalidCatalogNameError, "DatabaseNotFound"),
        (asyncpg.InsufficientPrivilegeError, "PermissionDenied"),
        ((asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedObjectError), "SchemaMissing"),
        (asyncpg.UndefinedColumnError, "SchemaOutdated"),
        (asyncpg.QueryCanceledError, "StatementTimeout"),
        (asyncpg.TooManyConnectionsError, "TooManyConnections"),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            return StoreError(reason, f"{text}.")
    if isinstance(error, TimeoutError):
        return StoreError("DatabaseUnreachable", "The database did not answer in time.")
    if isinstance(error, asyncpg.PostgresError):
        return StoreError("DatabaseError", f"{text}.")
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError) and not isinstance(error, OSError):
        # asyncpg quotes the URL in some of these, password included.
        return StoreError("InvalidDatabaseURL", "The Secret does not hold a postgresql:// URL that can be read.")
    if isinstance(error, OSError):
        return StoreError("DatabaseUnreachable", f"The database cannot be reached: {error.strerror or type(error).__name__}.")
    return StoreError("DatabaseUnreachable", f"The connection was lost: {text}.")


class Database:
    """One database: the query connection.

    Args:
        dsn: where it is.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self._flows: dict[str, Flow] = {}

    def flow(self, schema: str) -> Flow:
        """What comes and goes in one schema, counted for all its JobQueues."""
        return self._flows.setdefault(schema, Flow(schema))

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Run one statement; raises StoreError."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._dsn)
            try:
                rows: list[Any] = await self._connection.fetch(sql, *arguments)
                return rows
            except asyncio.CancelledError:
                self._connection.terminate()
                raise
            except DATABASE_ERRORS as error:
                if not isinstance(error, asyncpg.PostgresError):
                    self._connection.terminate()
                raise explain(error) from None

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()


class PostgresStore:
    """``Store`` over one schema.

    Args:
        database: its connection.
        schema: a name that was checked.
    """

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._observe_sql = observe_sql(schema)
        self._clients_sql = clients_sql(schema)

    async def observe(self, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        """Depths of the queues, and the clients that run in these pods; raises StoreError."""
        await self._check_versions()
        bounds = {probe.name: probe.depth_bound for probe in probes}
        arguments = (
            [p.name for p in probes],
            [p.depth_bound + 1 for p in probes],
            [p.horizon_seconds for p in probes],
        )
        rows = await self._database.fetch(self._observe_sql, *arguments)
        flow = self._database.flow(self._schema)
        await flow.read(self._database.fetch)
        depths = tuple(
            QueueDepth(
                name=row["name"],
                waiting=min(row["waiting"], bounds[row["name"]]),
                bounded=row["waiting"] > bounds[row["name"]],
                running=row["running"],
                running_seconds=row["running_seconds"],
                oldest_seconds=row["oldest_seconds"],
                due_soon=row["due_soon"],
                arrived=flow.arrived.get(row["name"], 0),
                finished=flow.finished.get(row["name"], Finished()),
                paused=row["paused"],
            )
            for row in rows
        )
        clients = await self._database.fetch(self._clients_sql, list(pod_uids)) if pod_uids else []
        return StoreView(depths, tuple(_client(row) for row in clients))

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        """Tell clients what to do; raises StoreError."""
        payload = {"action": "cordon" if state == "cordoned" else "uncordon", "client_ids": list(client_ids)}
        await self._database.fetch(
            f'WITH told AS (UPDATE "{self._schema}".rivermill_client SET wanted_state = $1 WHERE client_id = ANY($2::text[]) '
            "RETURNING 1) SELECT pg_notify($3, $4) FROM (SELECT count(*) FROM told) AS done",
            state,
            list(client_ids),
            f"{self._schema}.rivermill_control",
            json.dumps(payload),
        )

    async def bury(self, client_ids: Sequence[str]) -> None:
        """Declare clients dead whose pods are gone, unless they have been heard of again; raises StoreError."""
        await self._database.fetch(
            f'UPDATE "{self._schema}".rivermill_client SET last_seen_at = to_timestamp(0) WHERE client_id IN (SELECT client_id '
            f'FROM "{self._schema}".rivermill_client WHERE client_id = ANY($1::text[]) AND last_seen_at < now() - $2::interval '
            "ORDER BY client_id FOR UPDATE)",
            list(client_ids),
            timedelta(seconds=SILENT_SECONDS),
        )

    async def _check_versions(self) -> None:
        rows = await self._database.fetch(
            f'SELECT line, max(version)::int AS version FROM "{self._schema}".river_migration GROUP BY line'
        )
        versions = {row["line"]: row["version"] for row in rows}
        if versions.get("main", 0) < MAIN_OLDEST or versions.get("rivermill", 0) < 1:
            raise StoreError(
                "SchemaOutdated",
                f"Schema {self._schema} is at {versions or 'no version'}: "
                "run `rivermill migrate up` on it, or set database.migrate to Apply.",
            )


def _client(row: Any) -> ClientView:
    fields = dict(row)
    queues: dict[str, int] = json.loads(fields.pop("queues"))
    return ClientView(**fields, running=sum(queues.values()), running_by_queue=queues)


def observe_sql(schema: str) -> str:
    """``$1`` queues, ``$2`` how many jobs to count and ``$3`` how many seconds to look ahead in each."""
    job, queue = f'"{schema}".river_job', f'"{schema}".river_queue'
    return f"""
        SELECT name, depth.waiting::int, running.running::int, running.seconds AS running_seconds,
            oldest.seconds AS oldest_seconds, soon.due_soon::int,
            EXISTS (SELECT 1 FROM {queue} AS q WHERE q.name = wanted.name AND q.paused_at IS NOT NULL) AS paused
        FROM unnest($1::text[], $2::int[], $3::float8[]) AS wanted (name, depth_bound, horizon)
        CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM (
            SELECT 1 FROM {job} WHERE state = 'available' AND queue = wanted.name AND scheduled_at <= now()
            ORDER BY priority, scheduled_at, id LIMIT wanted.depth_bound) AS bounded) AS depth
        CROSS JOIN LATERAL (
            SELECT count(*) AS running, coalesce(extract(epoch FROM sum(now() - attempted_at)), 0)::float8 AS seconds
            FROM {job} WHERE state = 'running' AND queue = wanted.name) AS running
        CROSS JOIN LATERAL (
            SELECT extract(epoch FROM now() - min(first.scheduled_at))::float8 AS seconds
            FROM (VALUES (1::smallint), (2::smallint), (3::smallint), (4::smallint)) AS p (priority)
            CROSS JOIN LATERAL (
                SELECT scheduled_at FROM {job}
                WHERE state = 'available' AND queue = wanted.name AND priority = p.priority AND scheduled_at <= now()
                ORDER BY scheduled_at, id LIMIT 1) AS first) AS oldest
        CROSS JOIN LATERAL (SELECT count(*) AS due_soon FROM (
            SELECT 1 FROM {job} WHERE state IN ('scheduled', 'retryable') AND queue = wanted.name
                AND priority IN (1, 2, 3, 4) AND scheduled_at <= now() + make_interval(secs => wanted.horizon)
            LIMIT wanted.depth_bound) AS bounded) AS soon
    """


def clients_sql(schema: str) -> str:
    """``$1`` pod uids."""
    return f"""
        SELECT client_id, pod_uid, client.state, wanted_state, slots, coalesce(running.queues, '{{}}') AS queues,
            greatest(0, extract(epoch FROM now() - last_seen_at))::float8 AS silent_seconds,
            (SELECT coalesce(sum((value ->> 'ended')::bigint), 0)::bigint FROM jsonb_each(client.queues)) AS ended,
            (SELECT coalesce(sum((value ->> 'failed')::bigint), 0)::bigint FROM jsonb_each(client.queues)) AS failed
        FROM "{schema}".rivermill_client AS client
        LEFT JOIN (
            SELECT client_id, jsonb_object_agg(queue, jobs)::text AS queues FROM (
                SELECT attempted_by[array_upper(attempted_by, 1)] AS client_id, queue, count(*) AS jobs
                FROM "{schema}".river_job WHERE state = 'running' GROUP BY 1, 2) AS held
            GROUP BY 1) AS running USING (client_id)
        WHERE pod_uid = ANY($1::text[])
    """
