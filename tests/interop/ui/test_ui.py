"""River UI shows what we have written, and our workers do what it says."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import Locator, Page, expect

from rivermill import EventKind, JobState
from tests.interop.ui.conftest import SHOTS, Mill

_STILL = 2.0
"""Seconds in which a job that may run would have run: more than two polls."""


def _job(page: Page, job_id: int) -> Locator:
    return page.locator(f'a[href$="/jobs/{job_id}"]')


async def _shoot(page: Page, name: str) -> None:
    await page.screenshot(path=SHOTS / f"{name}.png")


async def _one_in_each_state(mill: Mill) -> dict[JobState, int]:
    later = datetime.now(UTC) + timedelta(hours=1)
    jobs = {
        JobState.AVAILABLE: await mill.insert("attic", queue="unworked"),
        JobState.CANCELLED: await mill.insert("barn", scheduled_at=later),
        JobState.COMPLETED: await mill.insert("cellar"),
        JobState.DISCARDED: await mill.insert("den", "in vain", max_attempts=1),
        JobState.PENDING: await mill.insert("estate", pending=True),
        JobState.RETRYABLE: await mill.insert("farm", "in vain"),
        JobState.RUNNING: await mill.insert("garden", "until cancelled"),
        JobState.SCHEDULED: await mill.insert("hall", scheduled_at=later),
    }
    await mill.client.cancel(jobs[JobState.CANCELLED])
    for state, job_id in jobs.items():
        await mill.reaches(job_id, state)
    return jobs


async def test_jobs_are_listed_in_every_state(mill: Mill, page: Page) -> None:
    jobs = await _one_in_each_state(mill)
    assert set(jobs) == set(JobState)
    for state, job_id in jobs.items():
        await page.goto(f"/jobs?state={state.value}")
        await expect(_job(page, job_id)).to_have_text("library_scan")
        await expect(page.locator('a[href*="/jobs/"]')).to_have_count(1)
        await expect(page.get_by_role("link", name=re.compile(rf"^{state.value.capitalize()}\s*1$"))).to_be_visible()
        await _shoot(page, f"jobs-{state.value}")


async def test_a_job_is_shown_with_its_errors_and_attempts(mill: Mill, page: Page) -> None:
    job_id = await mill.insert("island", "in vain", tags=["north"], priority=2)
    await mill.reaches(job_id, JobState.RETRYABLE, 1)
    await mill.client.job_retry(job_id)
    await mill.reaches(job_id, JobState.RETRYABLE, 2)
    await page.goto(f"/jobs/{job_id}")
    for attempt in (1, 2):
        await expect(page.get_by_text(f"(Attempt {attempt})")).to_be_visible()
    await expect(page.get_by_text("no such library: island").first).to_be_visible()
    await expect(page.get_by_text("mill-1").first).to_be_visible()
    await expect(page.get_by_text("2 / 25")).to_be_visible()
    await expect(page.get_by_text("north")).to_be_visible()
    traces = page.get_by_text("Stack Trace")
    await expect(traces).to_have_count(2)
    await traces.first.click()
    await expect(page.get_by_text("Traceback (most recent call last)").first).to_be_visible()
    await _shoot(page, "job")


async def test_a_running_job_is_cancelled(mill: Mill, page: Page) -> None:
    job_id = await mill.insert("jetty", "until cancelled")
    await mill.reaches(job_id, JobState.RUNNING)
    await page.goto(f"/jobs/{job_id}")
    await page.get_by_role("button", name="Cancel", exact=True).click()
    ended = await mill.reaches(job_id, JobState.CANCELLED)
    assert mill.cancelled == {job_id}
    assert [error.error for error in ended.errors] == ["JobCancelError: job cancelled remotely"]
    await expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    await _shoot(page, "cancelled")


async def test_a_discarded_job_is_retried(mill: Mill, page: Page) -> None:
    job_id = await mill.insert("kitchen", "in vain at first", max_attempts=1)
    await mill.reaches(job_id, JobState.DISCARDED)
    await page.goto("/jobs?state=discarded")
    await page.get_by_label(f"Select job {job_id}", exact=True).check()
    await _shoot(page, "selected")
    await page.get_by_role("button", name="Retry", exact=True).click()
    ended = await mill.reaches(job_id, JobState.COMPLETED)
    assert (ended.attempt, ended.max_attempts, ended.attempted_by) == (2, 2, ("mill-1", "mill-1"))
    await page.goto(f"/jobs/{job_id}")
    await expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    await _shoot(page, "retried")


async def test_a_queue_is_paused_and_resumed(mill: Mill, page: Page) -> None:
    events = mill.client.subscribe([EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED])
    await page.goto("/queues")
    await page.get_by_role("button", name="Pause, default").click()
    async with asyncio.timeout(15):
        assert (await anext(aiter(events))).kind is EventKind.QUEUE_PAUSED
    await expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    await _shoot(page, "queue-paused")
    job_id = await mill.insert("library")
    await asyncio.sleep(_STILL)
    assert (await mill.client.job_get(job_id)).state is JobState.AVAILABLE
    await page.get_by_role("button", name="Resume, default").click()
    assert (await mill.reaches(job_id, JobState.COMPLETED)).attempt == 1
    await expect(page.get_by_text("Paused", exact=True)).to_have_count(0)
    await _shoot(page, "queue-resumed")
