"""What options of the command line may be, beside argparse's own types."""

from __future__ import annotations

import argparse
from datetime import datetime

from rivermill.command_line import whole

_LEAST_URGENT = 4
#: Of the table's own check.
_LONGEST_KIND = 127


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is smaller, or no whole number.
    """
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: use 1 or more")
    return number


def priority(text: str) -> int:
    """A job's priority, 1 to 4.

    Raises:
        argparse.ArgumentTypeError: it is something else.
    """
    number = whole(text)
    if not 1 <= number <= _LEAST_URGENT:
        raise argparse.ArgumentTypeError(f"{number}: use 1 (most urgent) to {_LEAST_URGENT}")
    return number


def kind(text: str) -> str:
    """A kind that the database takes; those of old jobs may have another form than a new worker's.

    Raises:
        argparse.ArgumentTypeError: it is empty or too long.
    """
    if not 0 < len(text) <= _LONGEST_KIND:
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to {_LONGEST_KIND} characters, such as library_scan")
    return text


def moment(text: str) -> datetime:
    """A time with its zone.

    Raises:
        argparse.ArgumentTypeError: it is none, or has no zone.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r}: use a time with its zone, such as 2026-01-31T12:00:00Z")
    return time
