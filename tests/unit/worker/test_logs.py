"""How a record looks, for people and for collectors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from rivermill.logs import configure_logging

FACTS = {"job_id": 7, "kind": "scan", "error": "KeyError: 'user'"}
logger = logging.getLogger("rivermill.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_plain_lines_say_each_fact_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "plain")
    logger.warning("job %(job_id)s of kind %(kind)s failed: %(error)s", FACTS, extra={**FACTS, "slots": 3})
    assert capsys.readouterr().err.partition("rivermill.test: ")[2] == "job 7 of kind scan failed: KeyError: 'user' slots=3\n"
    logger.warning("no %s is free", "slot", extra={"slots": 3})
    assert capsys.readouterr().err.endswith("no slot is free slots=3\n")


def test_json_lines_have_message_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logger.warning("job %(job_id)s of kind %(kind)s failed: %(error)s", FACTS, extra=FACTS)
    line = json.loads(capsys.readouterr().err)
    assert line["message"] == "job 7 of kind scan failed: KeyError: 'user'"
    assert {key: line[key] for key in FACTS} == FACTS
