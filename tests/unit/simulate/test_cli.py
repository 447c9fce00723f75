"""The command: a user's jobs in, table, JSON and plots out."""

from __future__ import annotations

import json
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
    assert "my jobs" in capsys.readouterr().out
    report = json.loads((out / "all.json").read_text())
    assert {run["seed"] for run in report["runs"]} == {1, 2}
    assert "samples" not in report["runs"][0]
    assert report["summary"]["my jobs"]["rivermill"]["interrupted"]["worst"] == 0
    assert (out / "my-jobs.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", ""), "the page needs nothing from elsewhere"


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
    assert capsys.readouterr().out.splitlines()[-1].startswith("jobs ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "workload 'nothing' is not known"),
        (["--seeds", "0"], "--seeds 0: at least 1"),
        (["steady", "--trace", "x"], "give one of WORKLOAD, --trace and --from-database"),
        (["--trace", "{jobs}", "--goal", "a=b"], "--goal 'a=b': write seconds above 0"),
        (["--trace", "{jobs}", "--goal", "-1"], "--goal '-1': write seconds above 0"),
        (["--trace", "{jobs}", "--slots", "0"], "--slots and --max-replicas: at least 1"),
        (["--from-database"], "give the URL, or set DATABASE_URL"),
        (["steady", "--json", "{jobs}/all.json"], "File exists"),
        (["steady", "--plots", "{jobs}"], "File exists"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str], message: str, jobs: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["simulate", *(argument.format(jobs=jobs) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda _: None)
    plots.check_installed(None)
    with pytest.raises(plots.PlotsError, match=r"rivermill-operator\[plots\]"):
        plots.check_installed(tmp_path)
