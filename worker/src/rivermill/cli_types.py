"""What options of the command line may be, beside argparse's own types."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is smaller.
        ValueError: it is no whole number; argparse says so.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: use 1 or more")
    return number
