"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rivermill import ConfigError, QueueConfig, load_settings
from rivermill.client_queues import ClientQueues
from rivermill.db import connect, describe

DSN = "postgresql://u:secret@h/d"


def test_arguments_beat_environment_beats_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("jobs: {river: {workers: 3, max_attempts: 4, poll_interval: 2s, queues: {default: {max_workers: 7}}}}")
    env = {"DATABASE_URL": DSN, "RIVER_MAX_ATTEMPTS": "5", "RIVER_CONFIG": str(file), "RIVER_QUEUE_DEFAULT_PRIORITY": "6"}
    settings = load_settings(environ=env, slots=9)
    assert (settings.slots, settings.max_attempts, settings.poll_interval) == (9, 5, timedelta(seconds=2))
    assert settings.queues == {"default": QueueConfig(7, 6)}
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("env", "queues", "expected"),
    [
        ({}, {"default": 7}, 6),
        ({}, {"default": QueueConfig(7, 5)}, 5),
        ({"RIVER_QUEUES": "default:7"}, None, 6),
        ({"RIVER_QUEUES": "default:7:5"}, None, 5),
        ({"RIVER_CONFIG": "file"}, None, 6),
    ],
    ids=["argument without", "argument with", "environment without", "environment with", "file"],
)
def test_a_priority_that_was_given_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], queues: Any, expected: int
) -> None:
    """The variable for one queue beats the file, and nothing that says more."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("jobs: {river: {queues: {default: {max_workers: 7, priority: 5}}}}")
    environ = {"DATABASE_URL": DSN, "RIVER_QUEUE_DEFAULT_PRIORITY": "6"} | env
    assert load_settings(environ=environ, queues=queues).queues == {"default": QueueConfig(7, expected)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slots": 0}, "slots 0: use a whole number from 1 to 10000"),
        ({"max_attempts": 32768}, "max_attempts 32768: use a whole number from 1 to 32767"),
        ({"queues": {"mail": 0}}, "queue 'mail', max_workers 0: use a whole number"),
        ({"poll_interval": timedelta(0)}, "poll_interval 0:00:00: use a timedelta above zero"),
        ({"poll_interval": 5}, "poll_interval 5: use a timedelta above zero"),
        ({"shutdown_timeout": timedelta(-1)}, "use a timedelta of zero or more"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"DATABASE_URL": DSN}, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("river", "message"),
    [
        ("{workers: 0}", "jobs.river.workers 0"),
        ("{max_attempts: x}", "jobs.river.max_attempts 'x'"),
        ("{queues: {mail: {max_workers: 0}}}", "jobs.river.queues.mail.max_workers 0"),
        ("{queues: {mail: {max_workers: 1, priority: 2000}}}", "jobs.river.queues.mail.priority 2000"),
    ],
)
def test_wrong_lines_of_the_file_are_named(tmp_path: Path, river: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"jobs: {{river: {river}}}")
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"DATABASE_URL": DSN}, file=file)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": DSN, "RIVER_QUEUES": "mail:0"}, "RIVER_QUEUES part 'mail:0', max_workers 0"),
        (
            {"DATABASE_URL": DSN, "RIVER_QUEUES": "default:1", "RIVER_QUEUE_DEFAULT_PRIORITY": "0"},
            "RIVER_QUEUE_DEFAULT_PRIORITY 0",
        ),
        ({"DATABASE_URL": DSN, "RIVER_WORKERS": "x"}, "RIVER_WORKERS 'x'"),
        ({"DATABASE_URL": DSN, "RIVER_WORKERS": "0"}, "RIVER_WORKERS 0"),
        ({"DATABASE_URL": DSN, "RIVER_QUEUES": "default"}, "name:max_workers"),
        ({"DATABASE_URL": DSN, "RIVER_QUEUES": "Bad:1"}, "queue 'Bad'"),
        ({"DATABASE_URL": DSN, "RIVER_SCHEMA": 'a"b'}, "schema 'a\"b'"),
        ({"DATABASE_URL": DSN, "RIVER_CONFIG": "/nowhere.yaml"}, "configuration file /nowhere.yaml"),
    ],
)
def test_wrong_settings_are_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ=env)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_queues_from_the_environment() -> None:
    settings = load_settings(environ={"DATABASE_URL": DSN, "RIVER_QUEUES": "default:10:1,high_priority:20:10"})
    assert settings.queues == {"default": QueueConfig(10, 1), "high_priority": QueueConfig(20, 10)}
    assert ClientQueues(settings.queues, settings.slots, works=True).total_slots == 30


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        ("postgresql://u:secret@h:5432/d?password=secret", "postgresql://u@h:5432/d"),
        ("postgres://u:secret@[::1]:5432/d", "postgres://u@[::1]:5432/d"),
        ("postgresql://u:secret@a:1,b:2/d", "postgresql://u@a:1,b:2/d"),
        ("postgresql://u:sec%2Fret%40@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?user=me@there&password=secret", "postgresql://h/d"),
        ("postgresql:///d?host=/run&password=secret", "postgresql:///d"),
    ],
)
def test_a_dsn_is_described_without_its_password(dsn: str, place: str) -> None:
    assert describe(dsn) == place


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db user=u password=secret",
        "u:secret@h/d",
        "mysql://u:secret@h/d",
        "postgresql://u:1/secret@h/d",
        "postgresql://u:secret#1@h/d",
        "postgresql://u:1?secret@h/d",
        "postgresql://u:1@secret@h/d",
        "postgresql://u:[secret@h/d",
        "postgresql:u:secret@h/d",
    ],
)
async def test_what_is_no_url_is_not_shown(dsn: str) -> None:
    with pytest.raises(ConfigError, match="use postgresql://user:password@host:port/name") as caught:
        await connect(dsn, application_name="test")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("dsn", ["postgresql://u:secret@h:x/d", "postgresql://u@h/d?password=a&secret"])
async def test_what_cannot_be_read_is_not_quoted(dsn: str) -> None:
    with pytest.raises(ConfigError, match="database URL postgresql://u@h") as caught:
        await connect(dsn, application_name="test")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poll_only": True, "listener_dsn": DSN}, "listener_dsn"),
        ({"transaction_pooler": True}, "transaction_pooler"),
    ],
)
def test_clients_that_would_listen_in_vain_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(dsn=DSN, **settings)
