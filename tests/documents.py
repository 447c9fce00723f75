"""The blocks of code that pages show.

A block of Python that begins with a comment with a file name, such as ``# greet.py``, is a whole file; the others are parts,
in which ``await`` may stand outside of functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
)

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)
_NAMED = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """One block: the page, the line on which its text begins, and the text."""

    page: Path
    line: int
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if it is a whole one."""
        found = _NAMED.match(self.text)
        return found.group(1) if found else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fenced(language: str) -> Iterator[Block]:
    """Every block in fences of a language."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCED.finditer(text):
            if match.group(1) == language:
                yield Block(page, text.count("\n", 0, match.start(2)) + 1, match.group(2))


def commands() -> Iterator[Block]:
    """Every line of the blocks for a shell, in fences and indented, with those that go on joined."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        indented = _FENCED.sub(lambda match: "\n" * match.group().count("\n"), text)
        places = [(match.start(2), match.group(2)) for match in _FENCED.finditer(text) if match.group(1) == "sh"]
        for start, block in places:
            yield from _lines(page, text.count("\n", 0, start) + 1, block)
        for match in _INDENTED.finditer(indented):
            yield from _lines(page, indented.count("\n", 0, match.start()) + 1, match.group())


def _lines(page: Path, first: int, block: str) -> Iterator[Block]:
    number = first
    for line in re.split(r"(?<!\\)\n", block):
        yield Block(page, number, line.replace("\\\n", " ").strip())
        number += line.count("\n") + 1
