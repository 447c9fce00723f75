"""Values of wrong types that are told with what to use, in calls of a client and in what is made for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import asyncpg
import msgspec
import pytest

import rivermill
from rivermill import (
    Client,
    ConfigError,
    Cron,
    Job,
    JobFilter,
    JobListParams,
    JobRow,
    JobState,
    PeriodicJob,
    ValidationError,
)
from rivermill.db import told_to_callers
from rivermill.errors import DatabaseUnavailableError, LoginRefusedError
from rivermill.jsonb import encode_value

DSN = "postgresql://nobody@127.0.0.1/nothing"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"


ROW = JobRow(1, "mail", "default", JobState.RUNNING, {}, 1, 25, 1, NOW, NOW)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.insert_many(Mail()), r"jobs 'Mail\(\)' of type Mail: use a list, or insert for one job"),
        (lambda client: client.insert_many(5), "jobs '5' of type int: use a list"),
        (lambda client: client.insert_many_fast(None), "jobs 'None' of type NoneType: use a list"),
        (lambda client: client.job_list({"kinds": ["mail"]}), "params .* of type dict: use a JobListParams"),
        (lambda client: client.job_list(JobFilter()), "of type JobFilter: use a JobListParams"),
        (lambda client: client.job_delete_many({"kinds": ["mail"]}), "filters .* of type dict: use a JobFilter"),
        (lambda client: client.queue_limit("q", 5), "concurrency '5' of type int: use a Concurrency"),
        (lambda client: client.queue_rate_limit("q", 5), "rate '5' of type int: use a RateLimit"),
        (lambda client: client.queue_get(5), "queue '5' of type int: use the name of a queue, a text"),
        (lambda client: client.queue_list(after=None), "after 'None' of type NoneType: use the name"),
        (lambda client: client.queue_update(5, metadata={}), "queue '5' of type int: use the name"),
        (lambda client: client.queue_limit(5, None), "queue '5' of type int: use the name"),
        (lambda client: client.queue_rate_limit(5, None), "queue '5' of type int: use the name"),
    ],
)
async def test_calls(call: Callable[[Any], Any], said: str) -> None:
    """Before anything is asked of the database: there is none."""
    with pytest.raises(ValidationError, match=said):
        await call(Client(DSN))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Cron(None), "cron expression None: use a text"),  # type: ignore[arg-type]
        (lambda: Cron("@daily", "UTC"), "zone 'UTC': use a tzinfo"),  # type: ignore[arg-type]
        (lambda: Client(DSN, periodic_jobs=PeriodicJob(Cron("@daily"), Mail)), "periodic_jobs .*: use a list of PeriodicJob"),
    ],
)
def test_settings(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Job(Mail(), ROW).set_metadata(5, 5), "metadata key 5: use a text"),  # type: ignore[arg-type]
        (lambda: Job(Mail(), ROW).record_output(math.nan), "output cannot be encoded as JSON: it is nan, for which JSON has"),
        (lambda: Job(Mail(), ROW).record_output({"a": [None, -math.inf]}), "output .* a.1 is -inf"),
        (lambda: Job(Mail(), ROW).set_metadata("mean", math.inf), "metadata 'mean' .* it is inf"),
        (lambda: JobFilter(ids=["5"]), "ids '5': use whole numbers up to 9223372036854775807"),  # type: ignore[list-item]
        (lambda: JobFilter(ids=[2**70]), "ids 1180591620717411303424: use whole numbers"),
        (lambda: JobListParams(priorities=[1, True]), "priorities True: use whole numbers up to 32767"),
    ],
)
def test_values(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make()


def test_nulls_are_stored() -> None:
    assert encode_value("output", [None, msgspec.Raw(b"null"), NOW]) == b'[null,null,"2026-01-02T00:00:00Z"]'


def test_a_connection_that_is_cut_is_not_told_by_the_state_of_the_driver() -> None:
    with pytest.raises(DatabaseUnavailableError) as caught, told_to_callers():
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert str(caught.value) == (
        "the connection was lost: it was cut in the midst of a call; what was asked may have been done all the same"
    )


def test_errors_of_the_database_are_exported() -> None:
    assert (rivermill.DatabaseUnavailableError, rivermill.LoginRefusedError) == (DatabaseUnavailableError, LoginRefusedError)
