"""When a process counts as gone."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from devcluster.processes import Registry

_EXIT_OF_A_THREAD = {"x86_64": 60, "aarch64": 93}
_CODE = f"""
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({_EXIT_OF_A_THREAD}[os.uname().machine], 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the dev cluster's processes are Linux's")
def test_a_process_lives_as_long_as_one_of_its_threads(tmp_path: Path) -> None:
    process = Registry(tmp_path).spawn("leaderless", [sys.executable, "-c", _CODE], tmp_path / "log")
    try:
        deadline = time.monotonic() + 20
        while Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline, "its first thread does not end"
            time.sleep(0.01)
        assert process.alive()
    finally:
        process.kill()
    assert not process.alive()
