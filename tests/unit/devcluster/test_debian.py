"""Programs of Debian."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import DevclusterError, debian


def test_a_program_is_installed_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installed: list[str] = []

    def install(packages: list[str]) -> None:
        installed.extend(packages)
        (tmp_path / "flute").touch(0o755)

    monkeypatch.setattr(debian, "install", install)
    assert debian.find("flute") is None
    assert debian.program("flute", "woodwinds") == debian.program("flute") == str(tmp_path / "flute")
    assert debian.program(str(tmp_path / "flute")) == str(tmp_path / "flute")
    assert installed == ["woodwinds"]
    with pytest.raises(DevclusterError, match="package strings has no harp"):
        debian.program("harp", "strings")
