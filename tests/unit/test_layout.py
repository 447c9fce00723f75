"""Rules of the repository that no tool checks."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [p for d in ("operator", "worker", "devcluster", "demo", "examples", "scripts") for p in (ROOT / d).rglob("*.py")]


def test_operator_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_no_test_lies_beside_the_sources() -> None:
    assert not [p for p in SOURCES if p.name.startswith("test_") and p.parent.name != "scripts"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_one_version_everywhere() -> None:
    versions = {importlib.metadata.version(name) for name in ("rivermill", "rivermill-operator")}
    for chart in ("rivermill", "rivermill-crds"):
        versions.add(yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"])
    assert len(versions) == 1


@pytest.mark.parametrize("name", ["build", "dev", "operator", "setup", "worker"])
def test_requirements_are_hashed_and_without_addresses(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?://|--index|--find-links", text)
    pins = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    assert pins
    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []
