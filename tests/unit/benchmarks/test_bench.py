"""What the benchmarks make of their runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measure, report, rounds, systems
from benchmarks.cases import CASES, Case, Setup
from benchmarks.drivers.common import tally, timed_inserts
from benchmarks.growth import GROWTH, MEMORY
from benchmarks.measure import BenchmarkError, condensed, quarters
from benchmarks.plots import draw
from benchmarks.progress import Progress
from benchmarks.rounds import Rounds, summary, turned
from benchmarks.systems import SYSTEMS, System
from benchmarks.table import tables
from benchmarks.versions import versions
from devcluster import DevclusterError
from tests.unit.benchmarks.runs import FIRST, OTHER, run_of


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
    runs = {FIRST: {1: {"per_second": 20.0}, 2: {"per_second": 4.0}, 3: {"per_second": 9.0}}}
    runs[OTHER] = {1: {"per_second": 10.0}, 2: {"per_second": 2.0}}  # and none in the third round
    setups = summary(case, runs)["setups"]
    assert setups["river"]["by_round"] == {"per_second": {"1": 10.0, "2": 2.0}}
    assert setups["river"]["first_to_this"] == {"median": ratio, "least": ratio, "most": ratio}
    assert setups["rivermill, fast"]["first_to_this"]["median"] == 1.0


def test_a_summary_has_the_exact_settings_and_the_last_series() -> None:
    setup = Setup("rivermill", "fast", ("--slots=9",), jobs=5, made=("--queues=3",), history=7, old_snapshot=True)
    case = Case("x", "drain", 10, (setup,), flags=("--rate=1",))
    runs = {at: {"per_second": 1.0, "memory": [[0, float(at)]]} for at in (1, 2)}
    made = summary(case, {setup: runs})["setups"][setup.label]
    assert made["flags"] == ["--rate=1", "--slots=9"]
    assert (made["jobs"], made["made_with"], made["finished_jobs_before"], made["old_snapshot"]) == (5, ["--queues=3"], 7, True)
    assert made["series"] == {"memory": [[0, 2.0]]}
    assert made["figures"].keys() == {"per_second"}


def test_a_table_has_a_line_for_each_setup_and_gaps_for_what_was_not_measured() -> None:
    case = Case("drain of things", "drain", 10, (FIRST, OTHER))
    figures = {FIRST: {1: {"per_second": 2000.0, "rss_mb": 40.0}}, OTHER: {1: {"per_second": 1.5}}}
    text = tables([run_of({case.name: summary(case, figures)})])
    assert text.startswith(
        "2026-11-28 10:00 UTC, `python -m benchmarks --rounds 1`, 1 round, commit abc; 2 cores of P, load 0.5 at the start; "
        "PostgreSQL 18.1. rivermill, oban: python 3.13.0, uvloop 1; river: go 2. Left out: awa needs more.\n\n### Drain of "
    )
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
    summed = summary(case, {FIRST: {1: figures}, OTHER: {1: figures}})
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

    monkeypatch.setitem(SYSTEMS, "rivermill", System("rivermill", list, "v1"))
    monkeypatch.setitem(SYSTEMS, "river", System("river", refuse, "v1"))
    assert systems.make_ready(["rivermill", "river"]) == {"river": "no npm"}


def test_a_peer_that_cannot_be_installed_is_left_out_and_one_of_ours_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise subprocess.CalledProcessError(7, ["/home/somebody/bin/python", "-m", "pip"])

    def refuse() -> list[str]:
        raise DevclusterError("Go is needed")

    monkeypatch.setitem(SYSTEMS, "awa", System("awa", fail, "v1"))
    monkeypatch.setitem(SYSTEMS, "river", System("river", refuse, "v1"))
    reasons = {"awa": "awa could not be installed or built: python ended with 7", "river": "Go is needed"}
    assert systems.make_ready(["awa", "river"]) == reasons
    monkeypatch.setattr(systems, "_rivermill", fail)
    monkeypatch.setitem(SYSTEMS, "rivermill", System("rivermill", fail, "v1"))
    with pytest.raises(subprocess.CalledProcessError):
        systems.make_ready(["rivermill"])


def test_a_peer_that_hangs_fails_without_ending_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_SECONDS", 0.2)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(BenchmarkError, match=r"python.* prepare did not end within 0 s"):
        measure._call(sleeping, "prepare", "postgresql://somewhere")


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
    monkeypatch.setattr(measure, "_home", lambda _: [])
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
    assert turns == [FIRST, OTHER, OTHER, FIRST, OTHER]  # three failures are enough
    assert last["x"]["setups"].keys() == {FIRST.label}
    assert last["x"]["failed"] == {OTHER.label: [f"round {number}: did not end in time" for number in (1, 1, 2)]}
    assert tables([run_of(last)]).endswith("; round 2: did not end in time\n")


def test_a_failure_is_tried_again_and_costs_one_round_only(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {FIRST: iter([1.0, 3.0, 5.0]), OTHER: iter([None, 2.0, None, None, 10.0])}

    def answer(_server: object, _case: Case, setup: Setup) -> dict[str, float]:
        if (value := next(answers[setup])) is None:
            raise BenchmarkError("did not end in time")
        return {"per_second": value}

    monkeypatch.setattr(rounds, "measure", answer)
    monkeypatch.setattr(rounds, "_MOST_FAILURES", 4)
    *_, last = Rounds(None, [Case("x", "drain", 10, (FIRST, OTHER))], 3).run()  # type: ignore[arg-type]
    other = last["x"]["setups"]["river"]
    assert other["by_round"] == {"per_second": {"1": 2.0, "3": 10.0}}
    assert other["first_to_this"] == {"median": 0.5, "least": 0.5, "most": 0.5}


def test_no_setup_is_always_first_or_after_the_same_one() -> None:
    orders = [turned("abcde", number, 5) for number in range(5)]
    assert ["".join(order) for order in orders] == ["abcde", "aedcb", "cdeab", "cbaed", "eabcd"]
    assert turned("ab", 4, 5) == ["b", "a"]


def test_a_first_setup_that_always_failed_costs_no_other_its_figures() -> None:
    case = Case("x", "drain", 10, (FIRST, OTHER))
    table = summary(case, {FIRST: {}, OTHER: {1: {"per_second": 2.0}}}, {FIRST: ["round 1: no"]})
    assert list(table["setups"]) == [OTHER.label]
    assert table["setups"][OTHER.label]["first_to_this"] is None


def test_a_python_that_is_there_and_does_not_run_is_not_taken_for_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python3.13"
    program.write_text("#!/bin/sh\necho 'not of this version' >&2\nexit 127\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(systems.PythonDoesNotRunError, match="not of this version"):
        systems._newest_python.__wrapped__()


def test_the_first_batch_of_inserts_is_not_timed_unless_it_is_the_only_one() -> None:
    made: list[range] = []

    async def insert(numbers: range) -> None:
        made.append(numbers)

    assert asyncio.run(timed_inserts(5, 2, insert))["ran"] == 5
    assert asyncio.run(timed_inserts(2, 2, insert))["ran"] == 2
    assert made == [range(2), range(2, 4), range(4, 5), range(2)]


def test_what_a_driver_runs_in_is_asked_of_its_interpreter() -> None:
    found = versions([sys.executable])
    assert found["python"] == sys.version
    assert "asyncpg" in found


def test_cases_name_systems_that_there_are_and_begin_with_ours() -> None:
    for case in (*CASES, *GROWTH, *MEMORY):
        assert {setup.system for setup in case.setups} <= SYSTEMS.keys()
        assert case.setups[0].system == "rivermill"
        assert len({setup.label for setup in case.setups}) == len(case.setups)


def test_releases_have_versions() -> None:
    assert all(any(letter.isdigit() for letter in system.release) for system in SYSTEMS.values())
