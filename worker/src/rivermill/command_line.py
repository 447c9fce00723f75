"""How a command line is read: what is wrong is said in one line.

The worker and the operator share no code, so each has this file; a test holds the two alike.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_PASSWORD = re.compile(r"://[^@\s']*@")

#: Of 1, from which on an option is taken for another that was misspelt.
_NEAR = 0.8


class Parser(argparse.ArgumentParser):
    """Names what is wrong and where help is, without the whole usage before it, and repeats no password."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Every parser refuses what it does not know, so that the command is named, and not the program."""
        first = next(iter(sys.argv[1:] if args is None else args), "")
        if self._subparsers is not None and first.startswith("-") and not self._knows(first):
            # Else what follows it, its value perhaps, would be taken for the command.
            self.error(self._unknown(first))
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._unknown(unknown[0]))
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """End the process with code 2."""
        self.exit(2, f"{self.prog}: {_PASSWORD.sub('://…@', message)}; see {self.prog} --help\n")

    def _knows(self, option: str) -> bool:
        name = option.partition("=")[0]
        return any(one == name or (name.startswith("--") and one.startswith(name)) for one in self._option_string_actions)

    def _unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"argument {argument!r} is one too many"
        near = difflib.get_close_matches(argument.partition("=")[0], self._option_string_actions, 1, _NEAR)
        here = "" if self._subparsers is None else " here: give it after the command"
        return f"option {argument!r} is not known{f', {near[0]} is' if near else here}"


def add_command(commands: Any, name: str, text: str, **settings: Any) -> Parser:
    """Add a command; ``text`` is what the list of commands says of it, and its own help unless ``settings`` say more."""
    described = {"description": f"{text[0].upper()}{text[1:]}."} | settings
    parser: Parser = commands.add_parser(name, help=text, **described)
    return parser


def whole(text: str) -> int:
    """A whole number; raises argparse.ArgumentTypeError."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number") from None


def number(text: str) -> float:
    """A number; raises argparse.ArgumentTypeError."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number") from None
