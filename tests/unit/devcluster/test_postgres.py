"""Where the server may keep its data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from devcluster import DevclusterError, Postgres


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_a_folder_that_its_user_cannot_enter_is_named_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(DevclusterError, match=f"cannot enter {closed}"):
        Postgres(closed / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700
