"""Blocks of code that pages show are Python, and command lines that exist; programs are run in ``tests/db/docs``."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rivermill import cli
from rivermill_operator import main as operator
from tests.documents import PAGES, ROOT, Block, commands, fenced

PARSERS = {"rivermill": cli.build_parser(), "rivermill-operator": operator.build_parser()}
SYNOPSES = ("docs/worker.md",)


def calls() -> Iterator[tuple[Block, list[str]]]:
    """The command lines of our two programs, as lists of words."""
    for line in commands():
        if "rivermill" in line.text:
            words = shlex.split(line.text, comments=True)
            while words:
                end = next((number for number, word in enumerate(words) if word in {"|", "&&", ";", "&"}), len(words))
                if Path(words[0]).name in PARSERS:
                    yield line, [Path(words[0]).name, *words[1:end]]
                words = words[end + 1 :]


def named() -> Iterator[tuple[str, list[str]]]:
    """The command lines that stand within sentences and tables, with the place of each."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for found in re.findall(r"`(rivermill(?:-operator)? [^`]+)`", line):
                yield f"{page.relative_to(ROOT)}:{number}", found.split()


@pytest.mark.parametrize("block", list(fenced("python")), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_files_of_a_page_have_names_of_their_own() -> None:
    files = [(block.page, block.file) for block in fenced("python") if block.file]
    assert files
    assert len(files) == len(set(files))


@pytest.mark.parametrize(("line", "words"), list(calls()), ids=str)
def test_command_lines_of_blocks_are_understood(line: Block, words: list[str]) -> None:
    PARSERS[words[0]].parse_args(words[1:])


@pytest.mark.parametrize(("place", "words"), list(named()), ids=str)
def test_commands_that_sentences_name_exist(place: str, words: list[str]) -> None:
    parser = command(words)
    assert [word for word in words if word.startswith("--") and word not in parser._option_string_actions] == []


@pytest.mark.parametrize("page", SYNOPSES)
def test_options_that_a_synopsis_names_exist(page: str) -> None:
    rows = re.findall(r"^\| `(rivermill [^`]+)`(.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 5
    for words, text in rows:
        known = command(words.split())._option_string_actions
        assert [option for option in re.findall(r"`(-[-a-z]+)", text) if option not in known] == [], words


def command(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that is meant, however many of its arguments are there."""
    parser = PARSERS[words[0]]
    for word in words[1:]:
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not groups:
            break
        assert word in groups[0].choices, f"{' '.join(words)}: there is {', '.join(groups[0].choices)}"
        parser = groups[0].choices[word]
    return parser
