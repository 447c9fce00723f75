"""Which applications ``rivermill work`` takes, and what it says of the others."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rivermill.cli import main
from rivermill.cli_work import load_app
from rivermill.errors import ConfigError

APPLICATION = """
from dataclasses import dataclass
from typing import ClassVar
from rivermill import Job, Workers

@dataclass
class Note:
    kind: ClassVar[str] = "note"

workers = Workers()

@workers.work
async def send(job: Job[Note]) -> None: ...

def made(): return workers
async def made_later(): return workers
def broken(): raise RuntimeError("no settings")
def gone(): raise SystemExit("no settings")
number = 1
"""


@pytest.fixture(autouse=True)
def applications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_application.py").write_text(APPLICATION, encoding="utf-8")
    (tmp_path / "raising_application.py").write_text("raise OSError('boom')", encoding="utf-8")
    (tmp_path / "wrong_application.py").write_text("workers = = 1", encoding="utf-8")
    (tmp_path / "ending_application.py").write_text("import sys\nsys.exit(3)", encoding="utf-8")
    (tmp_path / "needing_application.py").write_text("import sys\nimport some_helper", encoding="utf-8")
    (tmp_path / "some_helper.py").write_text("\n\nimport absent.part", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("attribute", ["workers", "made", "made_later"])
async def test_taken(attribute: str) -> None:
    assert [registration.kind for registration in (await load_app(f"some_application:{attribute}"))] == ["note"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some_application", "write module:attribute"),
        ("absent:workers", "cannot import absent: No module named 'absent'$"),
        (
            "needing_application:workers",
            r"cannot import needing_.*: No module named 'absent', imported in .*/some_helper.py, line 3$",
        ),
        (
            "ending_application:workers",
            r"importing ending_application called sys.exit\(3\) in .*/ending_application.py, line 2; leave",
        ),
        ("some_application:gone", r"calling it called sys.exit\('no settings'\) in .*/some_application.py, line 1[0-9]; leave"),
        ("some_application:absent", "module some_application has no absent"),
        ("some_application:number", "must be a rivermill.Workers"),
        ("some_application:send", "cannot be called without arguments"),
        ("some_application:broken", "calling it failed: RuntimeError: no settings"),
        ("raising_application:workers", "importing raising_application failed: OSError: boom"),
        ("wrong_application:workers", "importing wrong_application failed: SyntaxError"),
    ],
)
async def test_refused(name: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ConfigError, match=message):
        await load_app(name)
    # Only what the application itself raised needs its traceback.
    assert bool(caplog.records) is ("failed" in message)


def test_an_application_that_ends_the_process_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work", "--database-url", "postgresql://h/d", "ending_application:workers"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rivermill: APP 'ending_application:workers': importing ending_application called sys.exit(3) in ")


def test_no_queue_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RIVER_QUEUES", raising=False)
    assert main(["work", "--database-url", "postgresql://h/d", "some_application:workers"]) == 2
    assert "set RIVER_QUEUES" in capsys.readouterr().err


def test_a_misplaced_url_is_shown_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--database-url", "postgresql://shop:s3cret@h/d", "job", "list"])
    assert "s3cret" not in capsys.readouterr().err
