"""What the demo does where it cannot run, and when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

import demo.__main__ as program
from demo import signals
from demo.setup import _works_in, end_leftover
from devcluster import Cluster, DevclusterError


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RIVERMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RIVERMILL_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", ["demo"])


def refuse(error: BaseException) -> Callable[..., NoReturn]:
    def raise_it(*_: object, **__: object) -> NoReturn:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DevclusterError("the dev cluster needs root"), 1, "demo: the dev cluster needs root\n"),
        (OSError(28, "No space left on device", "/cache/x"), 1, "demo: [Errno 28] No space left on device: '/cache/x'\n"),
        (KeyboardInterrupt(), 130, "demo: interrupted; what was started is gone again\n"),
    ],
)
@pytest.mark.parametrize("place", ["check_surroundings", "_run"])
def test_trouble_is_one_sentence(
    error: BaseException,
    code: int,
    message: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "check_surroundings", lambda: None)
    monkeypatch.setattr(program, place, refuse(error))
    assert program.main() == code
    assert capsys.readouterr().err == message


def test_the_cluster_goes_when_a_step_fails_and_stays_if_it_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    downs: list[bool] = []
    monkeypatch.setattr(Cluster, "down", lambda _: downs.append(True))
    monkeypatch.setattr(program.setup, "start", refuse(DevclusterError("a port is in use")))
    with pytest.raises(DevclusterError, match="in use"):
        program._run(keep=False)
    assert downs == [True]
    with pytest.raises(DevclusterError, match="in use"):
        program._run(keep=True)
    assert downs == [True]


def test_two_demos_do_not_share() -> None:
    with program._alone(), pytest.raises(DevclusterError, match="another demo"), program._alone():
        pass
    with program._alone():
        pass


def test_interrupt_ends_what_is_waited_for_but_no_daemon() -> None:
    child = subprocess.Popen(["sleep", "60"])
    daemon = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        with pytest.raises(KeyboardInterrupt), signals.interrupting():
            signal.raise_signal(signal.SIGTERM)
        assert child.wait(10) == -signal.SIGTERM
        assert daemon.poll() is None
    finally:
        child.kill()
        daemon.kill()
        daemon.wait()
        child.wait()


def test_cleaning_up_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.ignoring():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert capsys.readouterr().err == "demo: cleaning up, one moment\n" * 2
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def quit_is_not_ignored() -> Iterator[None]:
    """A shell that runs this in the background ignores SIGQUIT, and so do the children of its children."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGQUIT, before)


@pytest.mark.usefixtures("quit_is_not_ignored")
def test_a_server_left_behind_is_ended_and_no_other_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    end_leftover(data)
    wait = "import sys, time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", wait, "other"]) as other:
        (data / "postmaster.pid").write_text(f"{other.pid}\n", encoding="ascii")
        end_leftover(data)
        assert other.poll() is None
        other.kill()
    with subprocess.Popen([sys.executable, "-c", wait, str(data)]) as left:
        (data / "postmaster.pid").write_text(f"{left.pid}\n", encoding="ascii")
        deadline = time.monotonic() + 10
        while not _works_in(left.pid, data) and time.monotonic() < deadline:
            time.sleep(0.01)
        end_leftover(data)
        assert left.wait(10) == -signal.SIGQUIT
