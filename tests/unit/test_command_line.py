"""A wrong command line is told in one line, with the command whose help there is, by the worker and the operator alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from rivermill import cli, command_line
from rivermill_operator import command_line as of_operator
from rivermill_operator.main import main as operator


def test_both_halves_have_the_same_code() -> None:
    assert inspect.getsource(command_line) == inspect.getsource(of_operator)


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (operator, "", "rivermill-operator: the following arguments are required: COMMAND; see rivermill-operator --help"),
        (operator, "simulate --gaol 3", "rivermill-operator simulate: option '--gaol' is not known, --goal is; see "),
        (operator, "simulate --gaol=3", "rivermill-operator simulate: option '--gaol=3' is not known, --goal is; see "),
        (operator, "simulate --pods x", "rivermill-operator simulate: argument --pods: invalid choice: 'x' (choose from "),
        (operator, "simulate --seeds x", "rivermill-operator simulate: argument --seeds: 'x': use a whole number; see "),
        (operator, "simulate --hours x", "rivermill-operator simulate: argument --hours: 'x': use a number; see "),
        (operator, "run now", "rivermill-operator run: argument 'now' is one too many; see rivermill-operator run --help"),
        (operator, "explian", "rivermill-operator: argument COMMAND: invalid choice: 'explian' (choose from "),
        (
            operator,
            "--hours 3 simulate",
            "rivermill-operator: option '--hours' is not known here: give it after the command; see",
        ),
        (
            cli.main,
            "--schema x migrate list",
            "rivermill: option '--schema' is not known here: give it after the command; see ",
        ),
        (cli.main, "migrate --schema x list", "rivermill migrate: option '--schema' is not known here: give it after the com"),
        (cli.main, "--schema=x migrate list", "rivermill: option '--schema=x' is not known here: give it after the command; s"),
        (cli.main, "--versoin", "rivermill: option '--versoin' is not known, --version is; see rivermill --help"),
        (cli.main, "", "rivermill: the following arguments are required: COMMAND; see rivermill --help"),
        (cli.main, "job get", "rivermill job get: the following arguments are required: ID; see rivermill job get --help"),
        (cli.main, "enqueue mail --scheduled-at noon", "rivermill enqueue: argument --scheduled-at: 'noon': use a time with "),
        (cli.main, "enqueue mail --scheduled-at 2026-01-31", "rivermill enqueue: argument --scheduled-at: '2026-01-31': use "),
        (cli.main, "job list --priority 9", "rivermill job list: argument --priority: 9: use 1 (most urgent) to 4; see "),
        (cli.main, "enqueue mail --priority 0", "rivermill enqueue: argument --priority: 0: use 1 (most urgent) to 4; see "),
        (
            cli.main,
            f"enqueue {'k' * 128}",
            f"rivermill enqueue: argument KIND: '{'k' * 128}': use 1 to 127 characters, such as",
        ),
        (cli.main, "bench -n 0", "rivermill bench: argument -n/--num-total-jobs/--jobs: 0: use 1 or more; see "),
        (cli.main, "queue list --josn", "rivermill queue list: option '--josn' is not known, --json is; see "),
        (cli.main, "job get postgresql://u:secret@h/d", "rivermill job get: argument ID: 'postgresql://…@h/d': use a wh"),
        (cli.main, "job list --db=postgresql://u:secret@h/d", "rivermill job list: option '--db=postgresql://…@h/d' is not "),
    ],
)
def test_what_is_wrong_is_named(
    main: Callable[[list[str]], int], arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)
    assert "secret" not in line


@pytest.mark.parametrize("arguments", [["--version"], ["--vers"], ["-h"]])
def test_options_before_a_command_that_are_known(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert (ended.value.code, capsys.readouterr().err) == (0, "")


def test_a_kind_without_a_letter_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["enqueue", "", "{}"])
    assert capsys.readouterr().err.startswith("rivermill enqueue: argument KIND: '': use 1 to 127 characters, such as ")


def test_the_benchmark_says_that_its_schema_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for command, default in (
        ("bench", "(default: rivermill_bench, whatever RIVER_SCHEMA says)"),
        ("work", "RIVER_SCHEMA or public)"),
    ):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert default in " ".join(capsys.readouterr().out.split())
