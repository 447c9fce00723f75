"""The methods of the contract, each a call of the public API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec

import rivermill
from rivermill import (
    Client,
    InsertOpts,
    InsertParams,
    JobListCursor,
    JobListOrder,
    JobListParams,
    JobRow,
    JobState,
    Unique,
    ValidationError,
)
from rivermill.db import Connection
from rivermill.migrations import Migrator
from rivermill.schema import Schema
from tests.interop.adapter import params
from tests.interop.adapter.echo import Echo
from tests.interop.adapter.rows import encode_job
from tests.interop.adapter.rpc import PARAMS, REFUSED, Failure, Method
from tests.interop.adapter.runner import Runner
from tests.interop.adapter.state import State


class Methods:
    """Answers requests.

    Args:
        state: what the process holds.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def table(self) -> dict[str, Method]:
        """Every method by its name."""
        return {
            "cancel": Method(params.OneJob, self.cancel),
            "handshake": Method(params.Strict, self.handshake),
            "insert": Method(params.Insert, self.insert),
            "list": Method(params.List, self.list),
            "migrate": Method(params.Migrate, self.migrate),
            "queue": Method(params.QueueAction, self.queue),
            "release": Method(params.Release, self.release),
            "request_resign": Method(params.Place, self.request_resign),
            "retry": Method(params.OneJob, self.retry),
            "start": Method(params.Start, self.start),
            "stats": Method(params.Strict, self.stats),
            "stop": Method(params.Stop, self.stop),
            "tx_begin": Method(params.TxBegin, self.tx_begin),
            "tx_end": Method(params.TxEnd, self.tx_end),
        }

    async def handshake(self, _: params.Strict) -> dict[str, str]:
        return {"driver": "postgres", "implementation": "python", "version": rivermill.__version__}

    async def migrate(self, request: params.Migrate) -> dict[str, list[int]]:
        if request.direction not in ("", "up", "down"):
            raise Failure(PARAMS, f"unknown direction {request.direction!r}")
        schema = Schema(await self._state.schema(request.schema))
        connection = await self._state.connect()
        try:
            migrator = Migrator(connection, schema)
            move = migrator.down if request.direction == "down" else migrator.up
            applied = await move(target=request.target_version or None)
        finally:
            await connection.close()
        return {"versions": [one.migration.version for one in applied]}

    # --- jobs ---

    async def insert(self, request: params.Insert) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        results = await client.insert_many(insert_params(request), tx=tx)
        return {
            "results": [
                {"job": encode_job(one.job), "unique_skipped_as_duplicate": one.unique_skipped_as_duplicate} for one in results
            ]
        }

    async def list(self, request: params.List) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        page = await client.job_list(_list_params(request), tx=tx)
        cursor = page.last_cursor
        return {"cursor": cursor.encode() if cursor else None, "jobs": [encode_job(job) for job in page.jobs]}

    async def cancel(self, request: params.OneJob) -> dict[str, Any]:
        return await self._one_job(request, lambda client, tx: client.cancel(request.id, tx=tx))

    async def retry(self, request: params.OneJob) -> dict[str, Any]:
        return await self._one_job(request, lambda client, tx: client.job_retry(request.id, tx=tx))

    async def _one_job(
        self, request: params.OneJob, call: Callable[[Client, Connection | None], Awaitable[JobRow]]
    ) -> dict[str, Any]:
        return encode_job(await call(*await self._state.on(request)))

    # --- queues and the leader ---

    async def queue(self, request: params.QueueAction) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        match request.action:
            case "pause":
                await client.queue_pause(request.name, tx=tx)
            case "resume":
                await client.queue_resume(request.name, tx=tx)
            case "update":
                await client.queue_update(request.name, metadata=_text(request.metadata) or "{}", tx=tx)
            case _:
                raise Failure(PARAMS, f"unknown action {request.action!r}")
        return {}

    async def request_resign(self, request: params.Place) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        await client.request_resign(tx=tx)
        return {}

    # --- transactions ---

    async def tx_begin(self, request: params.TxBegin) -> dict[str, Any]:
        await self._state.begin(request.tx)
        return {}

    async def tx_end(self, request: params.TxEnd) -> dict[str, Any]:
        await self._state.end(request.tx, commit=request.commit)
        return {}

    # --- the working client ---

    async def start(self, request: params.Start) -> dict[str, Any]:
        if self._state.runner is not None:
            raise Failure(REFUSED, "a client is already running")
        schema = await self._state.schema(request.schema)
        runner = Runner(self._state.dsn, schema, request, self._state.barriers.__getitem__)
        await runner.start()
        self._state.runner = runner
        return {}

    async def stats(self, _: params.Strict) -> dict[str, Any]:
        return self._runner().stats()

    async def stop(self, request: params.Stop) -> dict[str, Any]:
        await self._runner().stop(cancel=request.cancel)
        self._state.runner = None
        return {}

    async def release(self, request: params.Release) -> dict[str, Any]:
        self._state.barriers[request.name].set()
        return {}

    def _runner(self) -> Runner:
        if self._state.runner is None:
            raise Failure(REFUSED, "no client is running")
        return self._state.runner


def insert_params(request: params.Insert) -> list[InsertParams]:
    """The jobs that are to be inserted."""
    return [
        InsertParams(Echo(job.behavior, job.duration_ms, job.message), _insert_opts(job.opts)) for job in request.jobs or ()
    ]


def _text(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _insert_opts(opts: params.Opts | None) -> InsertOpts:
    if opts is None:
        return InsertOpts()
    return InsertOpts(
        max_attempts=opts.max_attempts or None,
        metadata=_text(opts.metadata),
        pending=opts.pending or None,
        priority=opts.priority or None,
        queue=opts.queue or None,
        scheduled_at=opts.scheduled_at,
        tags=opts.tags or None,
        unique=_unique(opts.unique),
    )


def _unique(opts: params.UniqueOpts | None) -> Unique | None:
    if opts is None:
        return None
    unique = Unique(
        by_args=opts.by_args,
        by_period=timedelta(milliseconds=opts.by_period_ms) if opts.by_period_ms else None,
        by_queue=opts.by_queue,
        by_state=[_state(state, REFUSED) for state in opts.by_state or ()],
        exclude_kind=opts.exclude_kind,
    )
    return None if unique.empty else unique  # River's options that say nothing


def _state(name: str, code: int) -> JobState:
    try:
        return JobState(name)
    except ValueError as error:
        raise Failure(code, str(error)) from error


def _list_params(request: params.List) -> JobListParams:
    if request.direction not in ("", "asc", "desc"):
        raise Failure(PARAMS, f"unknown direction {request.direction!r}")
    try:
        after = JobListCursor.decode(request.after) if request.after else None
        order_by = JobListOrder(request.order_by or "id")
    except (ValidationError, ValueError) as error:
        raise Failure(PARAMS, str(error)) from error
    return JobListParams(
        ids=request.ids or (),
        kinds=request.kinds or (),
        queues=request.queues or (),
        states=[_state(state, REFUSED) for state in request.states or ()],
        priorities=request.priorities or (),
        tags_all=request.tags_all or (),
        metadata=_text(request.metadata),
        order_by=order_by,
        descending=request.direction == "desc",
        limit=request.limit or 100,
        after=after,
    )
