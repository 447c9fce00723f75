"""The page on compatibility names every scenario of River's suite once, as one that passes or with the reason why not, and only
tests that exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import rivermill

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "river-compatibility.md").read_text()
SCENARIOS = 73
#: What River has nothing like.
OURS = {"BlockingCallError", "ConfigError", "JobQueue", "NotStartedError", "PodIdentity", "RateLimit", "RivermillError"}
OURS |= {"DatabaseUnavailableError", "LoginRefusedError", "SyncClient", "WorkerCrashError", "load_settings"}
#: Their module says it for all of them.
IN_ONE = {"Hook", "Middleware", "Plugin"}


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


def test_public_names_say_what_of_rivers_they_mirror() -> None:
    public = {name: getattr(rivermill, name) for name in rivermill.__all__}
    documented = {name: value for name, value in public.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert {name for name, value in documented.items() if "River" not in value.__doc__ and "Mirrors" not in value.__doc__} == (
        OURS | IN_ONE
    )
