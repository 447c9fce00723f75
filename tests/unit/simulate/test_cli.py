"""The command: a user's jobs in, table, JSON and plots out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rivermill_operator.main import main
from rivermill_operator.simulate import cli, plots

JOBS = "due,seconds\n" + "".join(f"{at},2\n" for at in range(40))


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    file = tmp_path / "my jobs.csv"
    file.write_text(JOBS)
    return str(file)


def test_a_trace_is_compared_and_drawn(jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["simulate", "--trace", jobs, "--goal", "15", "--slots", "5", "--seeds", "2", "--plots", str(out)]
    assert main([*arguments, "--json", str(out / "all.json")]) == 0
    printed = capsys.readouterr()
    mean, worst = printed.out.splitlines()[2:]
    assert mean.startswith("my jobs, 15 s ")
    assert worst.startswith("  worst seed ")
    assert mean.index("|") == worst.index("|")
    assert f"figures: {out / 'all.json'}\nplots: {out / 'index.html'}\n" in printed.err
    report = json.loads((out / "all.json").read_text())
    assert {run["seed"] for run in report["runs"]} == {1, 2}
    assert "samples" not in report["runs"][0]
    assert report["summary"]["my jobs"]["rivermill"]["interrupted"]["worst"] == 0
    assert float(worst.split("|")[1].split()[2]) == round(report["summary"]["my jobs"]["rivermill"]["cost"]["worst"], 2)
    assert isinstance(report["missed"], list)
    assert report["summary"]["my jobs"]["rivermill"]["queues"]["default"]["share"]["mean"] <= 1
    assert (out / "my-jobs.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 1
    assert "<h2>my jobs, goal 15 s</h2>" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", ""), "the page needs nothing from elsewhere"


def test_queues_with_goals_of_their_own_have_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a-trace-with-a-long-name.csv"
    file.write_text("due,seconds,queue\n" + "".join(f"{at},2,{('emails', 'reports')[at % 2]}\n" for at in range(40)))
    arguments = ["simulate", "--trace", str(file), "--goal", "60", "--goal", "emails=0.1"]
    assert main([*arguments, "--json", str(tmp_path / "all.json")]) == 0
    head, columns, whole, *queues = capsys.readouterr().out.splitlines()
    assert [line.split(" |")[0].split() for line in queues] == [
        ["emails,", "0.1", "s", "100.0"],
        ["reports,", "60", "s", "100.0"],
    ]
    assert {line.index("|") for line in (head, columns, whole, *queues)} == {whole.index("|")}, "columns stand in line"
    shares = [float(line.split("|")[1].split()[0]) for line in queues]
    assert shares[0] < shares[1] == 100.0
    report = json.loads((tmp_path / "all.json").read_text())
    of_queues = report["runs"][0]["outcomes"]["keda"]["queues"]
    assert {name: queue["goal"] for name, queue in of_queues.items()} == {"emails": 0.1, "reports": 60.0}
    assert report["runs"][0]["reachable"] == {"share": 1.0, "queues": {"emails": 1.0, "reports": 1.0}}
    summary = report["summary"][file.stem]["rivermill"]["queues"]
    assert round(summary["emails"]["share"]["mean"] * 100, 2) == shares[0]


def test_figures_are_valid_json_where_nothing_is_worked(tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text("due,seconds\n1,0\n")
    assert main(["simulate", "--trace", str(file), "--json", str(tmp_path / "all.json")]) == 0
    report = json.loads((tmp_path / "all.json").read_text(), parse_constant=pytest.fail)
    assert report["summary"]["jobs"]["hpa"]["cost"]["mean"] is None, "no pod-second was needed"


def test_the_help_says_what_the_columns_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    text = capsys.readouterr().out
    for column in ("reach", "goal %", "p95 s", "cost", "kill", "wr"):
        assert f"\n  {column} " in text
    assert "UTC" in text


def test_an_interrupt_ends_it_at_once_and_without_a_trace() -> None:
    # What runs in the background of a shell ignores interrupts.
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, sys.executable, "-m", "rivermill_operator", "simulate", "diurnal", "--seeds", "100"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "0/100 runs\n"
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "rivermill-operator simulate: interrupted"
    assert "Traceback" not in errors


def test_history_becomes_a_trace(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://here/db")
    asked: list[Any] = []

    def history(*what: Any) -> list[dict[str, Any]]:
        asked.append(what)
        return [{"due": 5.0 + n, "known": 5.0 + n, "seconds": 1.0, "queue": "a", "priority": 1} for n in range(5)]

    parser = cli.argparse.ArgumentParser()
    cli.add_arguments(parser)
    options = parser.parse_args(["--from-database", "--schema", "jobs", "--hours", "2"])
    assert cli.run(options, history) == 0
    assert asked == [("postgresql://here/db", "jobs", 2.0)]
    assert capsys.readouterr().out.splitlines()[-1].startswith("schema jobs, 30 s ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "workload 'nothing' is not known; there are steady, step"),
        (["steady", "--goal", "5"], "--goal changes nothing: a reference workload has goals, slots and bounds already"),
        (["--goal", "5"], "--goal changes nothing: without jobs of your own the reference workloads run, which have"),
        (["steady", "step", "steady"], "workload 'steady' is there twice: name it once, and take --seeds 2"),
        (["--trace", "{jobs}", "--check"], "--check is of the reference workloads"),
        (["--trace", "{jobs}", "--goal", "=3"], "--goal '=3': no queue is named; write --goal 3 for all, or such as emails=5"),
        (["--slots", "5"], "--slots changes nothing"),
        (["steady", "--max-replicas", "5"], "use it with jobs of your own (--trace or --from-database), or leave it out"),
        (["steady", "--hours", "5"], "--hours is of --from-database"),
        (["--trace", "{jobs}", "--schema", "a"], "--schema is of --from-database"),
        (["--seeds", "0"], "--seeds 0: at least 1"),
        (["steady", "--trace", "x"], "give one of WORKLOAD, --trace and --from-database"),
        (["--trace", "{jobs}", "--goal", "a=b"], "--goal 'a=b': write seconds of 0.1 at least"),
        (["--trace", "{jobs}", "--goal", "-1"], "--goal '-1': write seconds of 0.1 at least"),
        (["--trace", "{jobs}", "--goal", "inf"], "--goal 'inf': write seconds of 0.1 at least"),
        (["--trace", "{jobs}", "--goal", "5", "--goal", "6"], "--goal '6': the goal of all queues is there twice"),
        (["--trace", "{jobs}", "--goal", "a=5", "--goal", "a=6"], "--goal 'a=6': the goal of queue 'a' is there twice"),
        (["--trace", "{jobs}", "--goal", "a=5"], "--goal for queue 'a': no job is in it; there are default"),
        (["--trace", "{jobs}", "--slots", "0"], "--slots 0: from 1 to 10000"),
        (["--trace", "{jobs}", "--max-replicas", "10001"], "--max-replicas 10001: from 1 to 10000"),
        (["--from-database", "postgresql://x/y", "--hours", "0"], "--hours 0: above 0, and at most 192 (8 days)"),
        (["--from-database", "postgresql://x/y", "--hours", "nan"], "--hours nan: above 0"),
        (["--from-database"], "give the URL, or set DATABASE_URL"),
        (["--from-database", "postgresql://h/d?sslmode=x"], "The database URL of h/d: sslmode 'x': use prefer, disable,"),
        (["steady", "--json", "{jobs}/all.json"], "--json {jobs}/all.json: folder {jobs} cannot be made: File exists"),
        (["steady", "--plots", "{jobs}"], "--plots {jobs}: folder {jobs} cannot be made: File exists"),
        (["steady", "--json", "/"], "--json /: is a folder; name a file"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], message: str, jobs: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["simulate", *(argument.format(jobs=jobs) for argument in arguments)]) == 2
    assert message.format(jobs=jobs) in capsys.readouterr().err


def test_scalers_stand_in_several_tables_where_one_is_too_wide(
    jobs: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["simulate", "--trace", jobs]) == 0
    blocks = [block.splitlines() for block in capsys.readouterr().out.split("\n\n")]
    assert [block[0].split() for block in blocks] == [
        ["workload", "reach", "|", "rivermill", "|", "keda-tuned"],
        ["workload", "reach", "|", "keda", "|", "hpa"],
    ]
    assert all(len(block) == 3 and block[2].startswith("my jobs, 30 s ") for block in blocks)
    assert max(len(line) for block in blocks for line in block) <= 100
    monkeypatch.setenv("COLUMNS", "20")
    assert main(["simulate", "--trace", jobs]) == 0
    assert capsys.readouterr().out.count("my jobs, 30 s ") == 4, "one is printed at least, however narrow it is"


def test_an_empty_trace_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("")
    assert main(["simulate", "--trace", str(file)]) == 2
    assert f"simulate: {file}: the file is empty; the first line names the columns, of due, seconds" in capsys.readouterr().err


def test_bars_are_not_for_jobs_of_a_user(tmp_path: Path) -> None:
    """A trace may have the name of a reference workload, too."""
    file = tmp_path / "noise.csv"
    file.write_text(JOBS)
    assert main(["simulate", "--trace", str(file), "--max-replicas", "1", "--json", str(tmp_path / "all.json")]) == 0
    assert json.loads((tmp_path / "all.json").read_text())["missed"] == []


def test_a_trace_is_named_with_its_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("due,seconds\n")
    assert main(["simulate", "--trace", str(file)]) == 2
    assert f"simulate: {file}: there is no job in it; see" in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda _: None)
    plots.check_installed(None)
    with pytest.raises(plots.PlotsError, match=r"rivermill-operator\[plots\]"):
        plots.check_installed(tmp_path)
