"""How profiles are written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page import replaced
from benchmarks.profile import PARTS, Statement, shortened, table
from benchmarks.sampled import counted, tables

ROOT = Path(__file__).resolve().parents[3]


def test_a_statement_in_one_line() -> None:
    assert shortened("SELECT 1 -- one\n  /* and */ FROM a WHERE b || '`'") == "SELECT 1 FROM a WHERE b \\|\\| '''"
    assert shortened("SELECT " + "x" * 200).endswith(" …")


def test_what_costs_little_is_added_up() -> None:
    statements = [
        Statement("UPDATE a", 10, 900.0, 1000, 5000),
        Statement("SELECT b", 1, 1.0, 0, 0),
        Statement("SELECT c", 3, 2.0, 6, 1000),
    ]
    lines = table(statements, 1000).splitlines()
    assert lines[2:] == [
        "| `UPDATE a` | 10 | 900 | 900.00 | 1,000 | 100.0 | 5 |",
        "| 2 others | 4 | 3 | 3.00 | 6 | 1.5 | 1 |",
        "| all | 14 | 903 | 903.00 | 1,006 | 71.9 | 6 |",
    ]


@pytest.mark.parametrize("part", PARTS)
def test_the_page_has_a_place_for_them(part: str) -> None:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    changed = replaced(page, part, "NEW")
    assert "NEW" in changed
    assert replaced(changed, part, "NEW") == changed
    assert changed.partition("<!--")[0] == page.partition("<!--")[0]


_ROOT = "thread (7): MainThread;<module> (driver.py:9);Runner.run (asyncio/runners.py:118)"
_SAMPLES = [
    f"{_ROOT};uv_run (core.c);epoll_pwait (libc.so.6) 60",
    f"{_ROOT};uv_run (core.c);flush (rivermill/a.py:3);write (libc.so.6) 20",
    f"{_ROOT};uv_run (core.c);flush (rivermill/a.py:8);0x7f12ab (libc.so.6) 10",
    f"{_ROOT};uv_run (core.c);flush (rivermill/a.py:8);flush (rivermill/a.py:9) 10",
    "thread (7): MainThread;<module> (driver.py:1);_find_and_load (<frozen importlib._bootstrap>:1) 50",
    "thread (8): rivermill-listener;Runner.run (asyncio/runners.py:118);poll (rivermill/b.py:1) 50",
]


def test_only_what_the_event_loop_did_is_counted() -> None:
    samples = counted(_SAMPLES)
    assert (samples.waiting, samples.busy) == (60, 40)
    assert samples.own == {"write (libc.so.6)": 20, "(no name) (libc.so.6)": 10, "flush (rivermill/a.py)": 10}
    assert samples.total == {"flush (rivermill/a.py)": 40}


def test_samples_are_shares_of_the_processor_time() -> None:
    said, own, total = tables(counted(_SAMPLES), 8.0)
    assert said.startswith("100 samples, 60% of them waiting; of the other 40,")
    assert own.splitlines()[2] == "| `write (libc.so.6)` | 20 | 50.0% | 4.00 |"
    assert total.splitlines()[2:] == ["| `flush (rivermill/a.py)` | 40 | 100.0% | 8.00 |"]
