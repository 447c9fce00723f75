"""Steps side by side, with real programs."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from devcluster.errors import DevclusterError
from devcluster.processes import run
from devcluster.steps import children, together

pytestmark = pytest.mark.timeout(20)


def test_all_run_at_once() -> None:
    meeting = threading.Barrier(3, timeout=10)
    together(meeting.wait, meeting.wait, meeting.wait)


def test_the_first_failure_is_told_and_ends_the_other_programs() -> None:
    ended: list[str] = []
    began = threading.Event()

    def builds() -> None:
        began.set()
        for program in ("first", "second"):
            done = subprocess.run(["sleep", "60"], check=False)
            ended.append(f"{program}: {done.returncode}")

    def fails() -> None:
        began.wait(10)
        run(["false"])

    with pytest.raises(DevclusterError, match="false failed"):
        together(builds, fails)
    assert ended == ["first: -15", "second: -15"]


def test_an_interrupt_ends_them_too() -> None:
    done: list[int] = []

    def interrupts() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(lambda: done.append(subprocess.run(["sleep", "60"], check=False).returncode), interrupts)
    assert done == [-15]


def test_children_are_those_that_a_terminal_would_reach() -> None:
    with subprocess.Popen(["sleep", "60"]) as child, subprocess.Popen(["sleep", "60"], start_new_session=True) as daemon:
        try:
            assert child.pid in children()
            assert daemon.pid not in children()
            assert os.getpid() not in children()
        finally:
            child.kill()
            daemon.kill()
