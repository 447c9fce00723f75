"""Which event an attempt's end is, and how subscribers get their events."""

from __future__ import annotations

import asyncio

import pytest

from rivermill import Client, ConfigError, EventKind, JobState, Subscription, ValidationError
from rivermill.events import Event, Subscribers
from rivermill.job_events import JobEvents, event_kind
from rivermill.schema import Schema

PAUSED, RESUMED, FAILED = EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED, EventKind.JOB_FAILED


@pytest.mark.parametrize(
    ("state", "outcome", "expected"),
    [
        (JobState.COMPLETED, "completed", EventKind.JOB_COMPLETED),
        (JobState.RETRYABLE, "failed", FAILED),
        (JobState.AVAILABLE, "failed", FAILED),
        (JobState.DISCARDED, "discarded", FAILED),
        (JobState.CANCELLED, "cancelled", EventKind.JOB_CANCELLED),
        (JobState.SCHEDULED, "snoozed", EventKind.JOB_SNOOZED),
        (JobState.AVAILABLE, "snoozed", EventKind.JOB_SNOOZED),
        (JobState.AVAILABLE, "interrupted", EventKind.JOB_INTERRUPTED),
        (JobState.AVAILABLE, "returned", None),
        # Somebody else was faster, or asked for its cancellation: the row tells.
        (JobState.CANCELLED, "failed", EventKind.JOB_CANCELLED),
        (JobState.CANCELLED, "returned", EventKind.JOB_CANCELLED),
        (JobState.DISCARDED, "completed", FAILED),
        (JobState.COMPLETED, "failed", EventKind.JOB_COMPLETED),
        (JobState.AVAILABLE, "completed", FAILED),
        (JobState.AVAILABLE, "cancelled", FAILED),
        (JobState.RUNNING, "completed", None),
        (JobState.PENDING, "completed", None),
    ],
)
def test_the_event_is_read_from_the_row(state: JobState, outcome: str, expected: EventKind | None) -> None:
    assert event_kind(state, outcome) is expected


async def read(subscription: Subscription) -> list[str | None]:
    return [event.queue async for event in subscription]


async def test_events_come_in_order_and_end_with_the_subscription() -> None:
    subscribers = Subscribers()
    with subscribers.subscribe([PAUSED, RESUMED]) as both, subscribers.subscribe("queue_resumed") as one:
        reading = asyncio.create_task(read(both))
        await asyncio.sleep(0)
        subscribers.emit_paused(["a", "b"], paused=True)
        subscribers.emit_paused(["a"], paused=False)
        await asyncio.sleep(0)
    subscribers.emit_paused(["late"], paused=True)
    assert await reading == ["a", "b", "a"]
    # What was buffered can still be read.
    assert await read(one) == ["a"]
    one.close()


async def test_a_slow_subscriber_loses_events(caplog: pytest.LogCaptureFixture) -> None:
    subscribers = Subscribers()
    slow = subscribers.subscribe([PAUSED], buffer=2)
    subscribers.emit_paused("abcd", paused=True)
    assert slow.dropped == 2
    assert (await anext(slow)).queue == "a"
    subscribers.emit_paused("ef", paused=True)
    subscribers.close()
    assert await read(slow) == ["b", "e"]
    assert slow.dropped == 3
    assert len([record for record in caplog.records if "events are lost" in record.message]) == 2


async def test_a_cancelled_reader_loses_nothing() -> None:
    subscribers = Subscribers()
    subscription = subscribers.subscribe([FAILED])
    reading = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    subscribers.emit(Event(FAILED))
    assert (await anext(subscription)).kind is FAILED


def test_only_events_of_jobs_cost_anything() -> None:
    subscribers = Subscribers()
    assert not subscribers.want_jobs
    queues = subscribers.subscribe([PAUSED])
    assert not subscribers.want_jobs
    jobs = subscribers.subscribe([FAILED, PAUSED])
    assert subscribers.want_jobs
    jobs.close()
    assert not subscribers.want_jobs
    queues.close()


def test_what_is_refused() -> None:
    subscribers = Subscribers()
    with pytest.raises(ValidationError, match="job_done"):
        subscribers.subscribe(["job_done"])
    with pytest.raises(ValidationError, match="at least one"):
        subscribers.subscribe([])
    with pytest.raises(ValidationError, match="buffer"):
        subscribers.subscribe([FAILED], buffer=0)
    with pytest.raises(ConfigError, match="no events"):
        Client("postgresql://x").subscribe([FAILED])


def test_a_job_may_be_due_since_ever() -> None:
    JobEvents(Schema(), Subscribers()).ended(1, started=0.0, ended=1.0, scheduled_at=float("-inf"))
