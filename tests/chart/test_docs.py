"""What the documents name is there, and what users can set is documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from rivermill.config_sources import SOURCES
from rivermill_operator.settings import Settings
from rivermill_operator.simulate import catalog

ROOT = Path(__file__).resolve().parents[2]
WORKER = "\n".join(path.read_text() for path in sorted((ROOT / "worker" / "src" / "rivermill").rglob("*.py")))
GUIDE = (ROOT / "docs" / "worker.md").read_text()
#: Names that the code puts together.
COMPOSED = {source.variable for source in SOURCES}


def test_every_variable_of_the_worker_is_documented() -> None:
    read = set(re.findall(r"\"(RIVER_[A-Z_]+|DATABASE_URL)\"", WORKER))
    assert len(read) > 5
    assert set(re.findall(r"`(RIVER_[A-Z_]+|DATABASE_URL)`", GUIDE)) == read | COMPOSED


def test_metrics_that_are_documented_exist() -> None:
    made = set(re.findall(r"\"(rivermill_[a-z_]+)\"", WORKER))
    named = {name.removesuffix("_total") for name in re.findall(r"`(rivermill_[a-z_]+)[`{]", GUIDE)}
    assert len(named) > 5
    assert named <= made


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end with."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_links_and_tests_that_pages_name_exist(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"
    for path, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_every_variable_of_the_operator_is_documented() -> None:
    read = set(re.findall(r"env\.get\(\"([A-Z_]+)\"", Path(inspect.getfile(Settings)).read_text()))
    assert len(read) > 5
    assert read <= set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE))


def test_results_name_every_workload_as_it_can_be_typed() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| \d", (ROOT / "docs" / "simulate.md").read_text(), re.MULTILINE)
    assert rows == [*catalog.NAMES, "noise"]
