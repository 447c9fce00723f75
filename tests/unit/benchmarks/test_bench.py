"""What the benchmarks make of their runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure, report, rounds, systems
from benchmarks.cases import CASES, Case, Setup
from benchmarks.drivers.common import tally
from benchmarks.growth import GROWTH, MEMORY
from benchmarks.measure import BenchmarkError, condensed, quarters
from benchmarks.plots import draw
from benchmarks.progress import Progress
from benchmarks.rounds import Rounds, summary
from benchmarks.systems import SYSTEMS, System
from benchmarks.table import tables

FIRST, OTHER = Setup("rivermill", "fast"), Setup("river", "")


def run_of(cases: dict[str, Any], started: str = "2026-11-28T10:00:00+00:00", **more: Any) -> report.Run:
    return {"started": started, "arguments": ["--rounds", "1"], "rounds": 1, "cases": cases} | more


def test_of_lists_of_times_their_percentiles_are_kept_and_of_memory_its_growth() -> None:
    assert condensed({"per_second": 3.0, "call_ms": [1.0, 2.0, 30.0]}) == {
        "per_second": 3.0, "call_p50_ms": 2.0, "call_p99_ms": 30.0,
    }  # fmt: skip
    samples = [[0, 40.0], [25, 42.0], [50, 90.0], [75, 44.0], [100, 45.0]]
    assert quarters(samples) == (41.0, 44.5)
    assert condensed({"memory": samples})["growth_mb"] == 3.5
    assert condensed({"memory": samples})["memory"] == samples


@pytest.mark.parametrize(("lower", "ratio"), [(False, 2.0), (True, 0.5)])
def test_ratios_are_made_round_by_round_and_say_how_much_better_the_first_is(lower: bool, ratio: float) -> None:
    case = Case("x", "drain", 10, (FIRST, OTHER), lower=lower)
    runs = {FIRST: [{"per_second": 20.0}, {"per_second": 4.0}], OTHER: [{"per_second": 10.0}, {"per_second": 2.0}]}
    setups = summary(case, runs)["setups"]
    assert setups["river"]["first_to_this"] == {"median": ratio, "least": ratio, "most": ratio}
    assert setups["rivermill, fast"]["first_to_this"]["median"] == 1.0


def test_a_summary_has_the_exact_settings_and_the_last_series() -> None:
    setup = Setup("rivermill", "fast", ("--slots=9",), jobs=5, made=("--queues=3",), history=7, old_snapshot=True)
    case = Case("x", "drain", 10, (setup,), flags=("--rate=1",))
    runs = [{"per_second": 1.0, "memory": [[0, number]]} for number in (1.0, 2.0)]
    made = summary(case, {setup: runs})["setups"][setup.label]
    assert made["flags"] == ["--rate=1", "--slots=9"]
    assert (made["jobs"], made["made_with"], made["finished_jobs_before"], made["old_snapshot"]) == (5, ["--queues=3"], 7, True)
    assert made["series"] == {"memory": [[0, 2.0]]}
    assert made["figures"].keys() == {"per_second"}


def test_a_table_has_a_line_for_each_setup_and_gaps_for_what_was_not_measured() -> None:
    case = Case("drain of things", "drain", 10, (FIRST, OTHER))
    figures = {FIRST: [{"per_second": 2000.0, "rss_mb": 40.0}], OTHER: [{"per_second": 1.5}]}
    text = tables([run_of({case.name: summary(case, figures)})])
    assert text.startswith("### Drain of things\n\n2026-11-28, `python -m benchmarks --rounds 1`, 1 rounds.")
    assert "| system | jobs | jobs/s | RSS MB | ratio |" in text
    assert "| rivermill, fast | 10 | 2,000 | 40 |" in text
    assert "| river | 10 | 1.5 | - |" in text


def test_runs_are_kept_apart_and_a_run_takes_the_place_of_what_it_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "BUILD", tmp_path)
    monkeypatch.setattr(report, "REPORT", tmp_path / "bench.json")
    assert report.read() == []
    report.write(run_of({"a": 1}, "one"))
    report.write(run_of({"a": 2, "b": 2}, "two"))
    report.write(run_of({"a": 3, "b": 3}, "two"))
    assert [(name, run["started"], case) for name, run, case in report.cases_of(report.read())] == [
        ("a", "one", 1), ("a", "two", 3), ("b", "two", 3),
    ]  # fmt: skip
    assert json.loads((tmp_path / "bench.json").read_text())["runs"][0]["started"] == "one"


def test_a_drawing_for_each_case_of_each_run(tmp_path: Path) -> None:
    case = Case("Drain, of things", "drain", 10, (FIRST, OTHER))
    figures = {"per_second": 2.0, "client_us": 3.0, "server_us": 4.0, "memory": [[0, 1.0], [9, 2.0]]}
    summed = summary(case, {FIRST: [figures], OTHER: [figures]})
    files = draw([run_of({case.name: summed}), run_of({case.name: summed}, "2026-11-29T10:00:00+00:00")], tmp_path)
    assert [file.name for file in files] == [
        f"bench-drain-of-things-2026-11-{day}t10-00-00.png" for day in (28, 29)
    ]  # fmt: skip
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_progress_counts_turns_and_takes_each_kind_to_need_as_long_as_the_last() -> None:
    now = [0.0]
    progress = Progress(["a", "b", "a", "b"], clock=lambda: now[0])
    assert progress.next() == "[1/4] 0 min"
    now[0] = 60.0
    assert progress.next() == "[2/4] 1 min, about 3 min to go"
    now[0] = 240.0
    assert progress.next() == "[3/4] 4 min, about 4 min to go"
    assert progress.seconds_left() == 180.0
    now[0] = 300.0
    assert progress.next() == "[4/4] 5 min, about 3 min to go"
    assert progress.seconds_left() == 0.0


def test_cases_can_be_cut_by_system_and_settings() -> None:
    setups = (FIRST, OTHER, Setup("rivermill", "slow"), Setup("statements alone", "slow"))
    case = Case("x", "drain", 10, setups)
    assert case.only("", "").setups == setups
    assert case.only("river").setups == (FIRST, OTHER, setups[2])
    assert case.only("rivermill,statements", "slow").setups == setups[2:]
    assert case.without({"rivermill"}).setups == (OTHER, setups[3])


def test_a_system_that_cannot_be_had_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise systems.SystemNotAvailableError("no npm")

    monkeypatch.setitem(SYSTEMS, "river", System("river", refuse, "v1"))
    assert systems.make_ready(["rivermill", "river"]) == {"river": "no npm"}


@pytest.mark.parametrize(
    ("mode", "counts", "ran"),
    [
        ("drain", {"available": 1, "completed": 9}, 10),
        ("drain", {"completed": 9, "retryable": 1}, 10),
        ("drain", {"completed": 10}, 11),
        ("drain", {"completed": 11}, 10),
        ("insert", {"available": 9}, 10),
        ("insert", {"completed": 10}, 10),
        ("latency", {"available": 10}, 10),
    ],
)
def test_a_run_that_lost_a_job_or_ran_one_twice_is_refused(
    mode: str, counts: dict[str, int], ran: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_call", lambda *_: tally(counts, waiting="available", done="completed"))

    class Server:
        url = staticmethod(str)

    with pytest.raises(BenchmarkError, match="for 10 jobs"):
        measure.check(Server(), Case("x", mode, 10, (FIRST,)), FIRST, ran)  # type: ignore[arg-type]


@pytest.mark.parametrize("failing", [FIRST, OTHER])
def test_a_failure_of_another_system_is_told_and_one_of_ours_ends_the_run(
    failing: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    def fail(_server: object, _case: Case, setup: Setup) -> dict[str, float]:
        turns.append(setup)
        if setup == failing:
            raise BenchmarkError("did not end in time")
        return {"per_second": 1.0}

    monkeypatch.setattr(rounds, "measure", fail)
    run = Rounds(None, [Case("x", "drain", 10, (FIRST, OTHER))], 2).run()  # type: ignore[arg-type]
    if failing == FIRST:
        with pytest.raises(BenchmarkError, match="did not end"):
            list(run)
        return
    *_, last = run
    assert turns == [FIRST, OTHER, FIRST]
    assert last["x"]["setups"].keys() == {FIRST.label}
    assert last["x"]["failed"] == {OTHER.label: "did not end in time"}
    assert tables([run_of(last)]).endswith("\n\nFailed: river: did not end in time\n")


def test_cases_name_systems_that_there_are_and_begin_with_ours() -> None:
    for case in (*CASES, *GROWTH, *MEMORY):
        assert {setup.system for setup in case.setups} <= SYSTEMS.keys()
        assert case.setups[0].system == "rivermill"
        assert len({setup.label for setup in case.setups}) == len(case.setups)


def test_releases_have_versions() -> None:
    assert all(any(letter.isdigit() for letter in system.release) for system in SYSTEMS.values())
