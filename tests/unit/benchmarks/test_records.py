"""Which runs are kept and written to the page, and what the aims make of them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import aims, page
from benchmarks.cases import CASES, Case, Setup
from benchmarks.growth import MEMORY
from benchmarks.rounds import summary
from benchmarks.sets import SETS, missing
from tests.unit.benchmarks.runs import FIRST, OTHER, run_of


def test_aims_are_held_against_the_best_setup_of_each_side_round_by_round() -> None:
    slow, fast = Setup("rivermill", "100 slots, all defaults"), Setup("rivermill", "1000 slots")
    tuned, default = Setup("river", "tuned"), Setup("river", "all defaults")
    case = Case("drain of no-op jobs", "drain", 10, (fast, slow, tuned, default))
    rates = {fast: (20.0, 30.0), slow: (10.0, 12.0), tuned: (10.0, 20.0), default: (1.0, 0.4)}
    runs = {setup: {at: {"per_second": rate} for at, rate in enumerate(both, 1)} for setup, both in rates.items()}
    text = aims.table([run_of({case.name: summary(case, runs)})])
    of = "rivermill, 1000 slots: 25; river, tuned: 15"
    assert f"| no-op drain: times River for Go tuned | ≥ 1.25 | 1.75 (1.50 to 2.00) | {of} |" in text
    assert "| no-op drain, defaults on both sides: times River for Go | ≥ 20 | 20.00 (10.00 to 30.00) |" in text
    assert text.count(" | 1 | yes | 2026-11-28 10:00, abc |") == 2
    assert "| resident MB with 100 slots, the most of any round | ≤ 80 | - | - | - | not measured | - |" in text


def test_an_aim_is_told_from_the_last_run_that_can() -> None:
    both = summary(Case("x", "drain", 10, (FIRST, OTHER)), {setup: {1: {"per_second": 3.0}} for setup in (FIRST, OTHER)})
    alone = summary(Case("x", "drain", 10, (FIRST,)), {FIRST: {1: {"per_second": 9.0}}})
    runs = [run_of({"drain of no-op jobs": alone}, "2026-11-29T10:00:00"), run_of({"drain of no-op jobs": both})]
    assert "Go tuned | ≥ 1.25 | 1.00 (1.00 to 1.00) |" in aims.table(runs)
    assert "| **no** | 2026-11-28 10:00, abc |" in aims.table(runs)


def test_the_most_of_any_round_is_held_against_a_bar_for_memory() -> None:
    setup = Setup("rivermill", "rivermill work")
    runs = {setup: {at: {"per_second": 1.0, "rss_mb": most} for at, most in enumerate((70.0, 75.0, 81.0), 1)}}
    text = aims.table([run_of({"drain of no-op jobs": summary(Case("x", "drain", 1, (setup,)), runs)})])
    assert "| resident MB with 100 slots, the most of any round | ≤ 80 | 75.00 (70.00 to 81.00) |" in text
    assert text.count("**no**") == 1


def test_latency_is_told_beside_rivers_at_both_percentiles_without_a_bar() -> None:
    case = Case("x", "latency", 1, (FIRST, OTHER), figure="call_p50_ms", lower=True)
    times = {FIRST: (2.0, 4.0), OTHER: (1.0, 8.0)}
    runs = {setup: {1: {"call_p50_ms": p50, "call_p99_ms": p99}} for setup, (p50, p99) in times.items()}
    text = aims.table([run_of({"insert to start, idle, 100 a second": summary(case, runs)})])
    assert "p50: times better than River's | - | 0.50 (0.50 to 0.50) | rivermill, fast: 2; river: 1 | 1 | - |" in text
    assert "p99: times better than River's | - | 2.00 (2.00 to 2.00) | rivermill, fast: 4; river: 8 | 1 | - |" in text


def test_every_aim_names_a_case() -> None:
    assert {aim.case for aim in aims.AIMS} <= {case.name for case in (*CASES, *MEMORY)}


def test_of_each_case_the_last_run_is_kept_without_series() -> None:
    def of(number: float) -> dict[str, Any]:
        return summary(Case("x", "drain", 10, (FIRST,)), {FIRST: {1: {"per_second": number, "memory": [[0, 1.0]]}}})

    old, new = run_of({"a": of(1.0), "b": of(1.0)}, "1"), run_of({"b": of(2.0)}, "2")
    found = page.kept([new, old])
    assert [(run["started"], list(run["cases"])) for run in found] == [("1", ["a"]), ("2", ["b"])]
    assert found[1]["cases"]["b"]["setups"][FIRST.label]["series"] == {}


@pytest.mark.parametrize(
    ("change", "rounds", "lacks"),
    [
        ({}, 1, ""),
        ({"jobs": 1}, 1, "other settings or jobs than now: rivermill, fast"),
        ({"flags": ["--slots=1"]}, 1, "other settings or jobs than now: rivermill, fast"),
        ({}, 0, "0 of 1 rounds"),
    ],
)
def test_only_a_run_of_all_rounds_jobs_and_settings_takes_the_place_of_another(
    change: dict[str, Any], rounds: int, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Setup("awa", "fails")
    case = Case("a", "drain", 10, (FIRST, OTHER, failing))
    monkeypatch.setitem(SETS, "peers", ((case,), 1))
    made = summary(case, {setup: {1: {"per_second": 1.0}} for setup in (FIRST, OTHER)}, {failing: ["did not end"]})
    made["setups"][FIRST.label] |= change
    run = run_of({"a": made}, rounds=rounds, left_out={})
    assert missing(run, "a") == lacks
    found, others = page.whole([run])
    assert (found, others) == (([], [f"{run['started']}, a: {lacks}"]) if lacks else ([run], []))


def test_a_run_without_a_system_is_whole_only_where_that_could_not_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("a", "drain", 10, (FIRST, OTHER))
    monkeypatch.setitem(SETS, "peers", ((case,), 1))
    made = summary(case, {FIRST: {1: {"per_second": 1.0}}})
    assert missing(run_of({"a": made}, left_out={}), "a") == "without river"
    assert missing(run_of({"a": made}, left_out={"river": "no Go"}), "a") == ""
    assert missing(run_of({"b": made}), "b") == "there is no such case any more"


def test_the_page_has_one_place_for_each_of_its_tables() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name in ("aims", *SETS):
        changed = page.replaced(text, name, "NEW")
        assert page.replaced(changed, name, "NEW") == changed
    with pytest.raises(ValueError, match="0 pairs"):
        page.replaced(text, "none", "NEW")
