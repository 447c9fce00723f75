"""Which periodic jobs there are, and when each is due."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import Client, ConfigError, Cron, Interval, Never, PeriodicJob, PeriodicJobs, load_settings
from rivermill.db import SharedConnection
from rivermill.maintenance.connection import LeaderConnection
from rivermill.maintenance.enqueuer import Enqueuer
from rivermill.periodic import Timetable

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize("turns", range(6))
async def test_an_enqueuer_that_is_told_of_a_change_as_it_is_cancelled_ends(turns: int) -> None:
    client, unused = Client("postgresql://h/d"), SharedConnection("postgresql://h/d", "unused")
    enqueuer = Enqueuer(client.periodic_jobs, client._inserter, client.settings.extensions)
    running = asyncio.create_task(enqueuer.run(LeaderConnection(unused, unused)))
    await asyncio.sleep(0.01)
    client.periodic_jobs.changed.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running], timeout=1)
    assert running.cancelled()


def job(every: timedelta = HOUR, **options: Any) -> PeriodicJob:
    return PeriodicJob(Interval(every), dict, **options)


def test_a_timetable_never_drifts() -> None:
    hourly, minutely = job(id="hourly"), job(MINUTE, id="minutely")
    timetable = Timetable(PeriodicJobs([hourly, minutely]).by_handle())
    assert timetable.seconds_until_next(START) is None
    assert timetable.admit(START) == []
    assert timetable.seconds_until_next(START) == 60
    assert timetable.due(START + timedelta(seconds=59)) == []
    # A little early counts, and the turn after a late one is due when it would have been.
    for now in (timedelta(seconds=59.95), timedelta(seconds=121), timedelta(seconds=180)):
        (turn,) = timetable.due(START + now)
        assert turn.job is minutely
        assert (turn.at - START).total_seconds() in (60, 120, 180)
    assert [turn.job.id for turn in timetable.due(START + HOUR)] == ["hourly", "minutely"]
    # What was missed in this term comes one turn at a time, at once.
    assert timetable.seconds_until_next(START + HOUR) == 0


def test_jobs_come_and_go() -> None:
    jobs = PeriodicJobs([job(id="first", run_on_start=True)])
    timetable = Timetable(jobs.by_handle())
    assert [(turn.job.id, turn.at) for turn in timetable.admit(START)] == [("first", START)]
    assert timetable.admit(START) == []
    second, third = jobs.add_many([job(MINUTE, id="second", run_on_start=True), job(MINUTE)])
    assert [turn.job.id for turn in timetable.admit(START + MINUTE)] == ["second"]
    assert jobs.remove(second)
    assert not jobs.remove(second)
    assert [turn.at for turn in timetable.due(START + 2 * MINUTE)] == [START + 2 * MINUTE]
    jobs.remove_many([third, 99])
    assert timetable.due(START + 3 * MINUTE) == []
    assert jobs.remove_by_id("first")
    assert not jobs.remove_by_id("first")
    assert timetable.seconds_until_next(START) is None
    assert jobs.add(job(id="first")) > third
    jobs.remove_many_by_id(["first", "nobody"])
    jobs.add_many([job(), job()])
    assert len(jobs) == 2
    jobs.clear()
    assert list(jobs) == []


def test_schedules_that_never_come_and_that_fail() -> None:
    class Fails:
        def next(self, after: datetime) -> datetime | None:
            raise RuntimeError("broken")

    class Says:
        def __init__(self, at: Any) -> None:
            self.at = at

        def next(self, after: datetime) -> Any:
            return self.at

    says = [Says(START), Says((START + HOUR).replace(tzinfo=None)), Says(5)]
    jobs = PeriodicJobs([PeriodicJob(one, dict) for one in (Never(), Cron("0 0 30 2 *"), Fails(), *says)])
    timetable = Timetable(jobs.by_handle())
    timetable.admit(START)
    assert timetable.seconds_until_next(START) is None
    assert timetable.due(START + 100 * HOUR) == []


def test_what_is_refused() -> None:
    jobs = PeriodicJobs([job(id="taken"), job(), job()])
    for add in (lambda: jobs.add(job(id="taken")), lambda: jobs.add_many([job(id="twice"), job(id="twice")])):
        with pytest.raises(ConfigError, match="is taken"):
            add()
    assert len(jobs) == 3
    with pytest.raises(ConfigError, match=r"^periodic_jobs\[0\] is a type: make it PeriodicJob\("):
        jobs.add(dict)  # type: ignore[arg-type]
    for wrong, message in (([job(), "0 * * * *"], r"periodic_jobs\[1\] is a str: make it "), (job(), "use a list of Per")):
        with pytest.raises(ConfigError, match=message):
            Client("postgresql://x", periodic_jobs=wrong)
    for wrong in ("", "a", "no blanks", "x" * 128):
        with pytest.raises(ConfigError, match="periodic job id"):
            job(id=wrong)
    with pytest.raises(ConfigError, match="schedule"):
        PeriodicJob(HOUR, dict)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="construct"):
        PeriodicJob(Interval(HOUR), {})  # type: ignore[arg-type]


def test_a_client_that_never_leads_has_none() -> None:
    with pytest.raises(ConfigError, match="leader_election_disabled"):
        load_settings(dsn="postgresql://x", leader_election_disabled=True, periodic_jobs=[job()])
    with pytest.raises(ConfigError, match="leader_election_disabled"):
        _ = Client("postgresql://x", leader_election_disabled=True).periodic_jobs
    assert len(Client("postgresql://x", periodic_jobs=[job()]).periodic_jobs) == 1
