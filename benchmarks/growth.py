"""What a job costs as the table, the queues and the fleet grow, and whether a worker's memory grows with its jobs."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import LEAN, WITHOUT_GIN, WITHOUT_SEARCH, Case, Setup

_MANY, _FEW = ("--slots=1000",), ("--slots=100",)
_THOUSAND_QUEUES = ("--queues=1000",)
_TUNED = ("--storage=tuned",)


def _ours(what: str, flags: tuple[str, ...] = _MANY, **more: Any) -> Setup:
    return Setup("rivermill", what, flags, **more)


GROWTH = (
    Case(
        "growth of the table",
        "drain",
        100_000,
        (
            _ours("empty table"),
            _ours("1 M finished jobs", history=1_000_000),
            _ours("10 M finished jobs", history=10_000_000),
            _ours("1 M jobs waiting", jobs=1_000_000),
            _ours("old snapshot", old_snapshot=True),
            _ours("1 M jobs waiting, old snapshot", jobs=1_000_000, old_snapshot=True),
        ),
        filled=True,
    ),
    Case(
        "growth of the fleet",
        "drain",
        100_000,
        (
            _ours("1 process of 100 slots", _FEW),
            _ours("4 processes of 100 slots", (*_FEW, "--processes=4")),
            _ours("16 processes of 100 slots", (*_FEW, "--processes=16")),
        ),
        filled=True,
    ),
    Case(
        "growth of the number of queues",
        "drain",
        100_000,
        (_ours("1 queue"), _ours("1000 queues", (*_MANY, *_THOUSAND_QUEUES), made=_THOUSAND_QUEUES)),
        filled=True,
    ),
    Case(
        "storage",
        "drain",
        100_000,
        (
            _ours("as River makes it"),
            _ours("without the GIN indexes", made=WITHOUT_GIN),
            _ours("without GIN and kind indexes", made=WITHOUT_SEARCH),
            _ours("tuned", made=_TUNED),
            _ours("tuned, without GIN and kind indexes", made=LEAN),
            _ours("1 M finished jobs", history=1_000_000),
            _ours("1 M finished jobs, without the GIN indexes", history=1_000_000, made=WITHOUT_GIN),
            _ours("1 M finished jobs, tuned, without GIN and kind indexes", history=1_000_000, made=LEAN),
        ),
        filled=True,
    ),
)

MEMORY = (
    Case(
        "memory over 2 M jobs",
        "drain",
        2_000_000,
        (_ours("100 slots, all defaults", (*_FEW, "--watch-memory")),),
        filled=True,
    ),
)
