"""What the benchmarks make of their runs."""

from __future__ import annotations

import pytest

from benchmarks.cases import CASES, Case, Setup
from benchmarks.rounds import percentile, summary
from benchmarks.systems import SYSTEMS
from benchmarks.table import tables

FIRST, OTHER = Setup("rivermill", "fast"), Setup("river", "")


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


@pytest.mark.parametrize(("lower", "ratio"), [(False, 2.0), (True, 0.5)])
def test_ratios_are_made_round_by_round_and_say_how_much_better_the_first_is(lower: bool, ratio: float) -> None:
    case = Case("x", "drain", 10, (FIRST, OTHER), lower=lower)
    runs = {FIRST: [{"per_second": 20.0}, {"per_second": 4.0}], OTHER: [{"per_second": 10.0}, {"per_second": 2.0}]}
    setups = summary(case, runs)["setups"]
    assert setups["river"]["first_to_this"] == {"median": ratio, "least": ratio, "most": ratio}
    assert setups["rivermill, fast"]["first_to_this"]["median"] == 1.0


def test_a_table_has_a_line_for_each_setup_and_gaps_for_what_was_not_measured() -> None:
    case = Case("drain of things", "drain", 10, (FIRST, OTHER))
    report = {"cases": {case.name: summary(case, {FIRST: [{"per_second": 2000.0}], OTHER: [{"per_second": 1.5}]})}}
    text = tables(report)
    assert text.startswith("### Drain of things")
    assert "| rivermill, fast | 10 | 2,000 | - |" in text
    assert "| river | 10 | 1.5 |" in text


def test_cases_name_systems_that_there_are_and_begin_with_ours() -> None:
    for case in CASES:
        assert {setup.system for setup in case.setups} <= SYSTEMS.keys()
        assert case.setups[0].system == "rivermill"
        assert len({setup.label for setup in case.setups}) == len(case.setups)


def test_a_case_can_be_cut_to_some_systems_and_fewer_jobs() -> None:
    case = Case("x", "drain", 100, (FIRST, Setup("river", "", jobs=50))).only("river").scaled(0.1)
    assert (case.jobs, [setup.jobs for setup in case.setups]) == (10, [None, 5])
