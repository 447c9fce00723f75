"""Events of one client: what became of the jobs it worked, and which of its queues are paused.

Mirrors River's ``event.go`` and ``subscription_manager.go``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import TracebackType
from typing import Self

from rivermill.errors import ValidationError
from rivermill.job import JobRow

BUFFER_DEFAULT = 1_000

logger = logging.getLogger("rivermill.events")


class EventKind(StrEnum):
    """What can be subscribed to. There may be more kinds some day, so there is no way to ask for all.

    Mirrors River's ``EventKind``.
    """

    JOB_CANCELLED = "job_cancelled"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    """An attempt failed: the job runs again, or is discarded; ``event.job.state`` tells which."""
    JOB_INTERRUPTED = "job_interrupted"
    """An attempt was given up because the client stops; it does not count."""
    JOB_SNOOZED = "job_snoozed"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"


_OF_QUEUES = (EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED)


@dataclass(frozen=True, slots=True)
class JobStats:
    """How long the parts of one attempt took. Mirrors ``JobStatistics``.

    Attributes:
        queue_wait: from when the job was due to the start of the attempt.
        run: the attempt itself.
        complete: from its end to when that was written.
    """

    queue_wait: timedelta
    run: timedelta
    complete: timedelta


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in this client. Mirrors River's ``Event``.

    Attributes:
        job: of job events, the row as it was written.
        stats: of job events; None for an attempt that ended before anybody had subscribed.
        queue: of queue events, the queue's name.
    """

    kind: EventKind
    job: JobRow | None = None
    stats: JobStats | None = None
    queue: str | None = None


class Subscription:
    """Events as an asynchronous iterator, which ends when it is closed or the client has stopped.

    Events that come while the buffer is full are lost, as in River: ``dropped`` counts them, and a warning is logged.
    What was buffered before the end can still be read.

    Attributes:
        dropped: events lost so far.
    """

    def __init__(self, kinds: frozenset[EventKind], buffer: int, on_close: Callable[[Subscription], None]) -> None:
        self.kinds = kinds
        self.dropped = 0
        self._events: deque[Event] = deque()
        self._buffer = buffer
        self._on_close = on_close
        self._changed = asyncio.Event()
        self._closed = False
        self._overflows = False

    def put(self, event: Event) -> None:
        """Hand an event over, if there is room for it."""
        if len(self._events) < self._buffer:
            self._overflows = False
            self._events.append(event)
            self._changed.set()
            return
        self.dropped += 1
        if not self._overflows:
            self._overflows = True
            logger.warning("events are lost: the subscriber is too slow", extra={"kind": event.kind, "dropped": self.dropped})

    def close(self) -> None:
        """Want no more events."""
        if not self._closed:
            self._closed = True
            self._changed.set()
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()


class Subscribers:
    """The subscriptions of one client.

    Attributes:
        want_jobs: whether anybody wants events of jobs; nobody's wish costs nothing.
    """

    def __init__(self) -> None:
        self._all: list[Subscription] = []
        self.want_jobs = False

    def subscribe(self, kinds: Iterable[EventKind | str], buffer: int = BUFFER_DEFAULT) -> Subscription:
        """Subscribe to kinds of events.

        Raises:
            ValidationError: a kind is unknown, there is none, or ``buffer`` is below 1.
        """
        wanted = frozenset(_kind(kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))
        if not wanted:
            raise ValidationError("event kinds: name at least one, such as EventKind.JOB_FAILED")
        if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
            raise ValidationError(f"buffer {buffer!r}: use a whole number of events, 1 or more")
        subscription = Subscription(wanted, buffer, self._forget)
        self._all.append(subscription)
        self._count()
        return subscription

    def emit(self, event: Event) -> None:
        """Hand an event to all who want its kind."""
        for subscription in self._all:
            if event.kind in subscription.kinds:
                subscription.put(event)

    def emit_paused(self, queues: Iterable[str], *, paused: bool) -> None:
        """Say that queues were paused or resumed."""
        for queue in queues:
            self.emit(Event(EventKind.QUEUE_PAUSED if paused else EventKind.QUEUE_RESUMED, queue=queue))

    def close(self) -> None:
        """There will be no more events."""
        for subscription in list(self._all):
            subscription.close()

    def _forget(self, subscription: Subscription) -> None:
        self._all.remove(subscription)
        self._count()

    def _count(self) -> None:
        self.want_jobs = any(kind not in _OF_QUEUES for one in self._all for kind in one.kinds)


def _kind(kind: EventKind | str) -> EventKind:
    try:
        return EventKind(kind)
    except ValueError:
        raise ValidationError(f"event kind {kind!r}: use one of {', '.join(EventKind)}") from None
