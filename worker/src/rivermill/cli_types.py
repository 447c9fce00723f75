"""What options of the command line may be, beside argparse's own types."""

from __future__ import annotations

import argparse
from datetime import datetime

from rivermill.command_line import whole


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is smaller, or no whole number.
    """
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: use 1 or more")
    return number


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
