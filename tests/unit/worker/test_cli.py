"""What the command line reads from its options."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rivermill import Unique, ValidationError
from rivermill.cli_admin import parse_unique


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
