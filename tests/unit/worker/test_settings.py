"""Settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rivermill import (
    Client,
    Concurrency,
    ConfigError,
    Never,
    QueueConfig,
    RateLimit,
    Settings,
    SyncClient,
    Workers,
    load_settings,
)
from rivermill.client_queues import ClientQueues
from rivermill.config_sources import SOURCES, Source
from rivermill.db import describe
from rivermill.schema import Schema

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
        ({"client_id": ""}, "client_id '': use 1 to 100 characters"),
        ({"client_id": "c" * 101}, "use 1 to 100 characters"),
        ({"slots": 0}, "slots 0: use a whole number from 1 to 10000"),
        ({"max_attempts": 32768}, "max_attempts 32768: use a whole number from 1 to 32767"),
        ({"queues": {"mail": 0}}, "queue 'mail', max_workers 0: use a whole number"),
        ({"poll_interval": timedelta(0)}, "poll_interval 0:00:00: use a timedelta above zero"),
        ({"poll_interval": 5}, "poll_interval 5: use a timedelta above zero"),
        ({"shutdown_timeout": timedelta(-1)}, "use a timedelta of zero or more"),
        (
            {"fetch_cooldown": timedelta(seconds=2)},
            "poll_interval (RIVER_POLL_INTERVAL) 0:00:01: use fetch_cooldown (RIVER_FETCH_COOLDOWN), 0:00:02, or more",
        ),
        (
            {"queues": {"mail": QueueConfig(1, poll_interval=timedelta(microseconds=999))}},
            "queue 'mail', poll_interval 0:00:00.000999: use its fetch_cooldown, 0:00:00.001000, or more",
        ),
        ({"job_timeout": 60}, "job_timeout 60: use a timedelta above zero, such as timedelta(seconds=60)"),
        ({"rescue_after": 3600}, "rescue_after 3600: use a timedelta above zero, such as timedelta(seconds=3600)"),
        ({"job_timeout": "60s"}, "job_timeout '60s': use a timedelta above zero, such as timedelta(seconds=60)"),
        ({"shutdown_timeout": True}, "shutdown_timeout True: use a timedelta of zero or more, such as timedelta(seconds=60)"),
        ({"queues": ["default"]}, "queues ['default']: use a dict of queues, such as {'default': 10}"),
        ({"queues": "default"}, "queues 'default': use a dict of queues"),
        (
            {"concurrency_limits": "mail:5"},
            "concurrency_limits 'mail:5': use a dict of queues, such as {'default': Concurrency(",
        ),
        ({"rate_limits": [5]}, "rate_limits [5]: use a dict of queues, such as {'default': RateLimit("),
        (
            {"listener_dsn": "mysql://u:secret@h/d"},
            "listener_dsn (RIVER_LISTENER_DSN): the database URL begins with mysql://: ",
        ),
        ({"listener_dsn": 5}, "listener_dsn (RIVER_LISTENER_DSN): use a text, such as postgresql://"),
        ({"max_worker": 3}, "max_worker: there is no such setting; did you mean queues={'default': 10}?"),
        ({"job_timeouts": 3}, "job_timeouts: there is no such setting; did you mean job_timeout=?"),
        ({"zzz": None}, "zzz: there is no such setting; use dsn, client_id, "),
        ({"http_port": 99999}, "http_port 99999: use a whole number from 0 to 65535"),
        ({"http_port": "8080"}, "http_port '8080': use a whole number"),
        ({"reindexer_index_names": "text"}, "reindexer_index_names 'text': pass a list, e.g. ['river_job_"),
        ({"reindexer_index_names": [1]}, "reindexer_index_names [1]: pass a list, e.g. ['river_job_args_index']"),
        ({"poll_only": "false"}, "poll_only 'false': use True or False"),
        ({"leader_election_disabled": 1}, "leader_election_disabled 1: use True or False"),
        ({"error_handler": 5}, "error_handler 5: use an object with the methods"),
        ({"job_stuck_handler": 5}, "job_stuck_handler 5: use a plain function"),
        ({"retry_policy": 5}, "retry_policy 5: use a function"),
        ({"concurrency_limits": {"mail": 5}}, "concurrency_limits, queue 'mail', 5: use a Concurrency"),
        ({"rate_limits": {"mail": Concurrency(5)}}, "rate_limits, queue 'mail', Concurrency("),
        ({"rate_limits": {"Bad": RateLimit(5, timedelta(1))}}, "queue 'Bad'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"DATABASE_URL": DSN}, **arguments)
    assert message in str(caught.value)


def test_every_switch_wants_true_or_false() -> None:
    for name in (one.name for one in fields(Settings) if one.type == "bool"):
        with pytest.raises(ConfigError, match=f"^{name} 'false': use True or False"):
            load_settings(environ={"DATABASE_URL": DSN}, **{name: "false"})


@pytest.mark.parametrize("workers", [[], Workers, test_every_switch_wants_true_or_false])
def test_what_is_no_workers_is_refused(workers: Any) -> None:
    with pytest.raises(ConfigError, match=r"^workers .*: make an instance, workers = Workers\(\)"):
        Client(DSN, workers=workers)


@pytest.mark.parametrize("timeout", [5, None, timedelta(0)])
def test_the_timeout_of_a_sync_client_is_a_timedelta(timeout: Any) -> None:
    with pytest.raises(ConfigError, match=f"^timeout {timeout}: use a timedelta above zero"):
        SyncClient(DSN, timeout=timeout)


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
        ({}, "DATABASE_URL is not set: set it, or give --database-url (dsn= in Python), e.g. "),
        ({"DATABASE_URL": DSN, "RIVER_QUEUES": "mail:0"}, "RIVER_QUEUES part 'mail:0', max_workers 0"),
        (
            {"DATABASE_URL": DSN, "RIVER_QUEUES": "default:1", "RIVER_QUEUE_DEFAULT_PRIORITY": "0"},
            "RIVER_QUEUE_DEFAULT_PRIORITY 0",
        ),
        ({"DATABASE_URL": DSN, "RIVER_WORKERS": "x"}, "RIVER_WORKERS 'x'"),
        ({"DATABASE_URL": DSN, "RIVER_WORKERS": "0"}, "RIVER_WORKERS 0"),
        ({"DATABASE_URL": DSN, "RIVER_QUEUES": "default"}, "name:max_workers"),
        (
            {"DATABASE_URL": DSN, "RIVER_QUEUES": "default:5, default:7"},
            "RIVER_QUEUES: queue 'default' stands twice; name each queue once",
        ),
        (
            {"DATABASE_URL": DSN, "RIVER_CONCURRENCY_LIMITS": "mail:5,mail:1:kind"},
            "RIVER_CONCURRENCY_LIMITS: queue 'mail' stands twice; name each queue once",
        ),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"jobs: [",
            "configuration file {file}: line 1: expected the node content, but found '<stream end>'; write it as",
        ),
        (b"jobs:\n  river:\n workers: 3", "configuration file {file}: line 3: "),
        (
            b"jobs: \x00",
            "configuration file {file}: unacceptable character #x0000: special characters are not allowed; write",
        ),
        (b"\xff\xfe", "configuration file {file}: invalid start byte at byte 0; save it as UTF-8"),
        (b"words", "configuration file {file}: 'words' must be a mapping, lines of `name: value`"),
        (
            b"jobs:\n  river:\n    queues:\n      mail: {max_workers: 1}\n      mail: {max_workers: 2}",
            "configuration file {file}: line 5: 'mail' stands twice; write it once",
        ),
        (b"? [jobs]\n: 1", "configuration file {file}: line 1: found unhashable key; write it as YAML"),
        (b"jobs: 3", "jobs in {file}: 3 must be a mapping"),
        (b"jobs:\n  river: [1]", "jobs.river in {file}: [1] must be a mapping"),
        (b"jobs:\n  river: {wrokers: 3}", "jobs.river.wrokers in {file}: unknown; there are workers, max_attempts, "),
    ],
)
def test_a_wrong_file_is_named_with_its_line(text: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "river.yaml"
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"DATABASE_URL": DSN}, file=file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named_once() -> None:
    with pytest.raises(ConfigError, match=r"^configuration file /nowhere.yaml: No such file or directory$"):
        load_settings(environ={"DATABASE_URL": DSN}, file="/nowhere.yaml")


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


def test_clients_that_would_listen_in_vain_are_refused() -> None:
    with pytest.raises(ConfigError, match="listener_dsn"):
        load_settings(dsn=DSN, poll_only=True, listener_dsn=DSN)


#: Every setting that can be written: its texts in the environment and in the file, and what they mean.
WRITTEN: dict[str, tuple[str, str, Any]] = {
    "slots": ("7", "7", 7),
    "max_attempts": ("7", "7", 7),
    "http_port": ("8080", "8080", 8080),
    "schema": ("jobs", "jobs", Schema("jobs")),
    "http_host": ("::1", "'::1'", "::1"),
    "listener_dsn": (DSN, "", DSN),
    "poll_interval": ("500ms", "0.5", timedelta(milliseconds=500)),
    "fetch_cooldown": ("20ms", "20ms", timedelta(milliseconds=20)),
    "shutdown_timeout": ("1m", "60", timedelta(minutes=1)),
    "rescue_after": ("2h", "2h", timedelta(hours=2)),
    "job_stuck_threshold": ("20s", "20s", timedelta(seconds=20)),
    "job_timeout": ("30m", "30m", timedelta(minutes=30)),
    "job_cleaner_timeout": ("none", "null", None),
    "reindexer_timeout": ("None", "none", None),
    "completed_retention": ("1h30m", "1h30m", timedelta(minutes=90)),
    "cancelled_retention": ("none", "none", None),
    "discarded_retention": ("24h", "24h", timedelta(days=1)),
    "poll_only": ("TRUE", "true", True),
    "transaction_pooler": ("1", "true", True),
    "fetch_only_known_kinds": ("1", "1", True),
    "leader_election_disabled": ("true", "yes", True),
    "discard_unknown_kinds": ("true", "on", True),
    "skip_unknown_job_check": ("true", "true", True),
    "reindexer_index_names": ("a, b", "[a, b]", ("a", "b")),
    "reindexer_schedule": ("none", "none", Never()),
    "concurrency_limits": ("mail:5", "{mail: 5}", {"mail": Concurrency(5)}),
    "rate_limits": ("mail:9/1m:kind", "{mail: '9/60:kind'}", {"mail": RateLimit(9, timedelta(minutes=1), by_kind=True)}),
}


def _settings(tmp_path: Path, env: dict[str, str], river: str = "{}") -> Settings:
    (tmp_path / "c.yaml").write_text(f"jobs: {{river: {river}}}")
    return load_settings(environ={"DATABASE_URL": DSN, **env}, file=tmp_path / "c.yaml")


def test_every_setting_can_be_written() -> None:
    assert {source.field for source in SOURCES} == {*WRITTEN, "dsn"}


@pytest.mark.parametrize("source", [source for source in SOURCES if source.field != "dsn"], ids=lambda source: source.field)
def test_settings_are_read_from_both(tmp_path: Path, source: Source) -> None:
    in_environment, in_file, expected = WRITTEN[source.field]
    assert getattr(_settings(tmp_path, {}), source.field) != expected
    assert getattr(_settings(tmp_path, {source.variable: in_environment}), source.field) == expected
    if source.key is not None:
        assert getattr(_settings(tmp_path, {}, f"{{{source.key}: {in_file}}}"), source.field) == expected


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("poll_only", "maybe", "RIVER_POLL_ONLY 'maybe': use true or false"),
        ("job_timeout", "soon", "RIVER_JOB_TIMEOUT 'soon': use a duration above zero such as 500ms, 1s, 2m or 1h30m; or none"),
        ("rescue_after", "none", "RIVER_RESCUE_AFTER 'none': use a duration above zero"),
        ("completed_retention", "-1", "RIVER_COMPLETED_RETENTION '-1': use a duration above zero"),
        ("reindexer_schedule", "daily", "RIVER_REINDEXER_SCHEDULE 'daily': cron expression 'daily': use five fields"),
        ("reindexer_index_names", "a,,b", "RIVER_REINDEXER_INDEX_NAMES 'a,,b': use names with commas between them, or none"),
        ("concurrency_limits", "mail:x", "RIVER_CONCURRENCY_LIMITS, queue 'mail', 'x': the limit 'x' is no whole number"),
        ("http_port", "65536", "RIVER_HTTP_PORT 65536: use a whole number from 0 to 65535"),
    ],
)
def test_wrong_variables_are_named_with_their_value(tmp_path: Path, source: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _settings(tmp_path, {f"RIVER_{source.upper()}": text})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("river", "message"),
    [
        ("{poll_only: 2}", "jobs.river.poll_only 2: use true or false"),
        ("{reindexer_index_names: [1]}", "jobs.river.reindexer_index_names [1]: use names"),
        ("{reindexer_index_names: ['']}", "jobs.river.reindexer_index_names ['']: use names"),
        ("{schema: 5}", "jobs.river.schema 5: use a text"),
        ("{listener_dsn: x}", "jobs.river.listener_dsn in "),
        ("{pol_only: true}", "unknown; there are workers, max_attempts, http_port, schema"),
    ],
)
def test_wrong_lines_are_named_with_their_value(tmp_path: Path, river: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _settings(tmp_path, {}, river)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"RIVER_RESCUE_AFTER": "1m", "RIVER_JOB_TIMEOUT": "2m"},
            "rescue_after (RIVER_RESCUE_AFTER) 0:01:00: jobs may run for job_timeout (RIVER_JOB_TIMEOUT) 0:02:00; use more",
        ),
        (
            {"RIVER_POLL_ONLY": "true", "RIVER_LISTENER_DSN": DSN},
            "listener_dsn (RIVER_LISTENER_DSN): a client with poll_only (RIVER_POLL_ONLY) does not listen",
        ),
        ({"RIVER_LISTENER_DSN": "u:secret@h"}, "listener_dsn (RIVER_LISTENER_DSN): the database URL cannot be read"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _settings(tmp_path, env)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_schedule_from_the_environment_goes_by_utc(tmp_path: Path) -> None:
    schedule = _settings(tmp_path, {"RIVER_REINDEXER_SCHEDULE": "30 3 * * *"}).reindexer_schedule
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 3, 30, tzinfo=UTC)


def test_a_longer_job_timeout_defers_rescues(tmp_path: Path) -> None:
    assert _settings(tmp_path, {"RIVER_JOB_TIMEOUT": "5h"}).rescue_after == timedelta(hours=6)
    assert _settings(tmp_path, {"RIVER_JOB_TIMEOUT": "none"}).rescue_after == timedelta(hours=1)


def test_arguments_beat_the_environment_with_none_too(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": DSN, "RIVER_JOB_TIMEOUT": "5h", "RIVER_POLL_ONLY": "true"}
    settings = load_settings(environ=environ, job_timeout=None, poll_only=False)
    assert (settings.job_timeout, settings.poll_only) == (None, False)


def test_the_documentation_has_every_setting_in_one_line() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "worker.md").read_text()
    for source in SOURCES:
        key = "" if source.key is None else f"`jobs.river.{source.key}` "
        assert f"| `{source.variable}` | {key}| `{source.field}` |" in page, source.field
