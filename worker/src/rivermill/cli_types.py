"""What options of the command line may be, beside argparse's own types."""

from __future__ import annotations

import argparse
from datetime import datetime

from rivermill.args import MAX_KIND
from rivermill.command_line import whole
from rivermill.insert_rows import MAX_PRIORITY


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
    if not 1 <= number <= MAX_PRIORITY:
        raise argparse.ArgumentTypeError(f"{number}: use 1 (most urgent) to {MAX_PRIORITY}")
    return number


def kind(text: str) -> str:
    """A kind that the database takes; those of old jobs may have another form than a new worker's.

    Raises:
        argparse.ArgumentTypeError: it is empty or too long.
    """
    if not 0 < len(text) <= MAX_KIND:
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to {MAX_KIND} characters, such as library_scan")
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
