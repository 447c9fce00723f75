"""What a client is not started without, and where that is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from rivermill import Client, ConfigError, Job, NotStartedError, QueueConfig, SyncClient, Workers

DSN = "postgresql://nobody@127.0.0.1/nothing"


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"


@pytest.fixture
def workers_of_one() -> Workers:
    workers = Workers()

    @workers.work
    async def send(job: Job[Mail]) -> None: ...

    return workers


async def test_clients_that_work_nothing_do_not_listen(workers_of_one: Workers) -> None:
    assert SyncClient(DSN, transaction_pooler=True)
    client = Client(DSN, transaction_pooler=True, workers=workers_of_one)
    await client.queues.add("late", 1)
    with pytest.raises(ConfigError, match=r"transaction_pooler .*: LISTEN needs a session"):
        await client.start()


async def test_a_client_that_works_nothing_takes_the_environment_of_one_that_does(
    monkeypatch: pytest.MonkeyPatch, workers_of_one: Workers
) -> None:
    monkeypatch.setenv("RIVER_QUEUES", "default:1")
    monkeypatch.setenv("RIVER_TRANSACTION_POOLER", "true")
    assert SyncClient(DSN)
    client = Client(DSN, workers=workers_of_one)
    assert client.settings.queues
    with pytest.raises(ConfigError, match=r"transaction_pooler \(RIVER_TRANSACTION_POOLER\): LISTEN needs a session"):
        await client.start()


@pytest.mark.parametrize("queues", [None, {"default": 1}])
async def test_what_a_client_cannot_be_started_without_is_named(queues: Any, workers_of_one: Workers) -> None:
    for workers, missing in ((None, "it has no workers=,"), (Workers(), "its workers= are empty: register them")):
        client = Client(DSN, workers=workers, queues=queues)
        with pytest.raises(ConfigError, match=f"cannot be started: {missing}"):
            await client.start()
        with pytest.raises(NotStartedError, match=missing):
            await client.stopped()
    client = Client(DSN, workers=workers_of_one, queues=queues)
    missing = "call start\\(\\) first" if queues else "it has no queues: give queues={'default': 10}, or set RIVER_QUEUES"
    with pytest.raises(NotStartedError, match=missing):
        await client.stopped()


async def test_a_queue_that_comes_later_keeps_to_the_settings(workers_of_one: Workers) -> None:
    client = Client(DSN, workers=workers_of_one)
    with pytest.raises(ConfigError, match="queue 'late', poll_interval 0:00:01: use its fetch_cooldown, 0:00:02, or more"):
        await client.queues.add("late", QueueConfig(1, fetch_cooldown=timedelta(seconds=2)))
    assert not client.queues


async def test_workers_that_are_none_are_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="its workers= are empty"):
        async with Client(DSN, workers=Workers(), queues={"default": 1}):
            pass
    async with Client(DSN, workers=Workers()):
        pass  # it only inserts
