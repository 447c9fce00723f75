"""What the end of ``make test`` says of what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.failures import MOST_LINES, MOST_OF_ONE, Failure, failed_tests, summary

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
  <testcase classname="tests.db.test_a" name="test_passes" time="0.1"/>
  <testcase classname="tests.db.test_a" name="test_skips"><skipped message="no root">why</skipped></testcase>
  <testcase classname="tests.cluster.test_b" name="test_fails[helm3/a.log]">
    <failure message="AssertionError: not within 60 s: 3 jobs&#10;&#10;  assert False">def test_fails():
    ready()
&gt;   eventually(done)

tests/cluster/test_b.py:4:
&gt;       assert value
E       AssertionError</failure>
    <error message="failed on teardown with &quot;no operator&quot;">text</error>
  </testcase>
  <testcase classname="" name="tests.unit.test_c"><error message="collection failure">SyntaxError</error></testcase>
</testsuite></testsuites>
"""


def test_each_failure_has_its_statement_and_its_message(tmp_path: Path) -> None:
    report = tmp_path / "cluster.xml"
    report.write_text(REPORT, encoding="utf-8")
    node = "tests/cluster/test_b.py::test_fails[helm3/a.log]"
    assert failed_tests(report) == [
        Failure(f"FAILED {node}", ("eventually(done)", "AssertionError: not within 60 s: 3 jobs", "assert False")),
        Failure(f"ERROR {node}", ('failed on teardown with "no operator"',)),
        Failure("ERROR tests.unit.test_c", ("collection failure",)),
    ]


def test_no_report_has_no_failures(tmp_path: Path) -> None:
    assert failed_tests(tmp_path / "absent.xml") == []


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (5, 5), (9, 9), (20, 20), (21, 20), (500, 20)])
def test_many_failures_are_told_in_few_lines(count: int, shown: int) -> None:
    said = tuple("x" * 500 for _ in range(40))
    lines = summary([Failure(f"FAILED {number}", said) for number in range(count)])
    assert sum(line.startswith("FAILED") for line in lines) == shown
    assert len(lines) <= MOST_LINES + 1
    assert max(map(len, lines), default=0) < 250
    assert (lines[-1:] == [f"and {count - shown} more"]) == (count > shown)


def test_one_failure_is_cut_too() -> None:
    assert len(summary([Failure("FAILED", ("line",) * 100)])) == MOST_OF_ONE
