"""Methods beside the contract, for what its second revision leaves to each implementation's own tests."""

from __future__ import annotations

from typing import Any

import msgspec

from rivermill import ClientQueues, JobFilter, JobState, Queue
from tests.interop.adapter import params
from tests.interop.adapter.methods import insert_params
from tests.interop.adapter.order import order
from tests.interop.adapter.rows import encode_job, encode_time
from tests.interop.adapter.rpc import REFUSED, Failure, Method
from tests.interop.adapter.state import State

_QUEUES_LISTED = 100


class MethodsBeside:
    """Answers requests that only our own tests make; the program of River for Go has the same.

    Args:
        state: what the process holds.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def table(self) -> dict[str, Method]:
        """Every method by its name."""
        return {
            "delete": Method(params.OneJob, self.delete),
            "delete_many": Method(params.DeleteMany, self.delete_many),
            "get": Method(params.OneJob, self.get),
            "insert_fast": Method(params.Insert, self.insert_fast),
            "order": Method(params.Strict, self.order),
            "queue_add": Method(params.QueueAdd, self.queue_add),
            "queue_get": Method(params.QueueName, self.queue_get),
            "queue_list": Method(params.QueueList, self.queue_list),
            "queue_remove": Method(params.QueueName, self.queue_remove),
            "update": Method(params.Update, self.update),
        }

    async def get(self, request: params.OneJob) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        return encode_job(await client.job_get(request.id, tx=tx))

    async def delete(self, request: params.OneJob) -> dict[str, Any]:
        client, tx = await self._state.on(request)
        return encode_job(await client.job_delete(request.id, tx=tx))

    async def delete_many(self, request: params.DeleteMany) -> dict[str, Any]:
        client = await self._state.client(request.schema)
        filters = JobFilter(
            ids=request.ids or (),
            kinds=request.kinds or (),
            queues=request.queues or (),
            states=[JobState(state) for state in request.states or ()],
        )
        return {"jobs": [encode_job(job) for job in await client.job_delete_many(filters, limit=request.limit or 100)]}

    async def update(self, request: params.Update) -> dict[str, Any]:
        client = await self._state.client(request.schema)
        return encode_job(await client.job_update(request.id, output=msgspec.json.decode(request.output)))

    async def insert_fast(self, request: params.Insert) -> dict[str, int]:
        client, tx = await self._state.on(request)
        return {"count": await client.insert_many_fast(insert_params(request), tx=tx)}

    async def order(self, _: params.Strict) -> dict[str, list[str]]:
        return await order(self._state.dsn, await self._state.schema(""))

    # --- queues ---

    async def queue_get(self, request: params.QueueName) -> dict[str, Any]:
        client = await self._state.client(request.schema)
        return _encode_queue(await client.queue_get(request.name))

    async def queue_list(self, request: params.QueueList) -> dict[str, Any]:
        client = await self._state.client(request.schema)
        queues = await client.queue_list(limit=request.limit or _QUEUES_LISTED)
        return {"queues": [_encode_queue(queue) for queue in queues]}

    async def queue_add(self, request: params.QueueAdd) -> dict[str, Any]:
        await self._worked().add(request.name, request.max_workers)
        return {}

    async def queue_remove(self, request: params.QueueName) -> dict[str, Any]:
        await self._worked().remove(request.name)
        return {}

    def _worked(self) -> ClientQueues:
        if self._state.runner is None:
            raise Failure(REFUSED, "no client is running")
        return self._state.runner.queues


def _encode_queue(queue: Queue) -> dict[str, Any]:
    return {
        "created_at": encode_time(queue.created_at),
        "metadata": queue.metadata,
        "name": queue.name,
        "paused_at": encode_time(queue.paused_at),
        "updated_at": encode_time(queue.updated_at),
    }
