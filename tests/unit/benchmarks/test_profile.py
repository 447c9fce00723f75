"""How profiles of statements are written down."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page import replaced
from benchmarks.profile import Statement, shortened, table

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


def test_the_page_has_a_place_for_them() -> None:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    changed = replaced(page, "statements", "NEW")
    assert "NEW" in changed
    assert replaced(changed, "statements", "NEW") == changed
    assert changed.partition("<!--")[0] == page.partition("<!--")[0]
