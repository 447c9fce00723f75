"""What the command line reads from its options."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rivermill import SequenceOpts, Unique, ValidationError
from rivermill.cli_admin import parse_sequence, parse_unique


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], None),
        (["args"], Unique(by_args=True)),
        (["args.to", "args.account.id"], Unique(by_args=["to", "account.id"])),
        (["queue", "period=90s"], Unique(by_queue=True, by_period=timedelta(seconds=90))),
        (["exclude_kind", "args"], Unique(by_args=True, exclude_kind=True)),
    ],
)
def test_unique(texts: list[str], expected: Unique | None) -> None:
    assert parse_unique(texts) == expected


@pytest.mark.parametrize(
    "texts", [["kind"], ["args", "args.to"], ["period=1h", "period=2h"], ["exclude_kind"], ["args."], ["period=1ms"]]
)
def test_unique_refuses(texts: list[str]) -> None:
    with pytest.raises(ValidationError, match="unique"):
        parse_unique(texts)


@pytest.mark.parametrize(
    ("texts", "continue_on", "expected"),
    [
        ([], [], None),
        (["kind"], [], SequenceOpts()),
        (["args.to", "args.account.id"], ["discarded"], SequenceOpts(by_args=["to", "account.id"], continue_on_discarded=True)),
        (["queue", "exclude_kind"], ["cancelled"], SequenceOpts(by_queue=True, exclude_kind=True, continue_on_cancelled=True)),
        (["args"], [], SequenceOpts(by_args=True)),
    ],
)
def test_sequence(texts: list[str], continue_on: list[str], expected: SequenceOpts | None) -> None:
    assert parse_sequence(texts, continue_on) == expected


@pytest.mark.parametrize(
    ("texts", "continue_on"),
    [
        (["period=1h"], []),
        (["args", "args.to"], []),
        (["exclude_kind"], []),
        (["kind", "args", "exclude_kind"], []),
        (["args."], []),
        ([], ["cancelled"]),
    ],
)
def test_sequence_refuses(texts: list[str], continue_on: list[str]) -> None:
    with pytest.raises(ValidationError, match=r"sequence|continue-on"):
        parse_sequence(texts, continue_on)
