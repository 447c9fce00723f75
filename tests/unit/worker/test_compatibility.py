"""The page on compatibility names every scenario of River's suite once, as one that passes or with the reason why not, and only
tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "river-compatibility.md").read_text()
SCENARIOS = 73


def _named(section: str) -> list[str]:
    """The scenarios in the table under a heading."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (Test\w+) \| ([^|]+) \|", text, re.MULTILINE)
    return [name if name == group else f"{group}/{name}" for group, names in rows for name in re.findall(r"`(\w+)`", names)]


def test_what_is_said_to_pass_has_a_test_and_the_rest_a_reason() -> None:
    tested: list[str] = []
    for path in sorted((ROOT / "tests" / "interop" / "scenarios").glob("test_*.py")):
        tested += re.findall(r'^@scenario\("([\w/]+)"', path.read_text(), re.MULTILINE)
    passing, missing = _named("Scenarios that pass"), _named("Scenarios without a test yet")
    assert sorted(passing) == sorted(tested)
    everything = [*passing, *missing]
    assert len(everything) == len(set(everything)) == SCENARIOS


def test_the_tests_that_are_named_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE))
    assert len(named) > SCENARIOS
    for path, function in sorted(named):
        assert (ROOT / path).is_file(), path
        assert re.search(rf"^(async )?def {function or 'test_'}", (ROOT / path).read_text(), re.MULTILINE), (path, function)


def test_scenarios_of_the_first_revision_are_named_once() -> None:
    section = PAGE.split("## Scenarios of the suite's first revision\n")[1].split("\n## ")[0]
    listed = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)))
    assert len(listed) == len(set(listed)) > SCENARIOS
    tested: list[str] = []
    for path in sorted((ROOT / "tests" / "interop" / "first_revision").glob("test_*.py")):
        tested += re.findall(r'^@scenario\("(\w+)"', path.read_text(), re.MULTILINE)
    assert set(tested) <= set(listed)
