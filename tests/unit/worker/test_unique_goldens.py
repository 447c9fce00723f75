"""Every unique key of River's conformance data, as River for Go v0.51.1 computes it; those without one are refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rivermill import JobState, Unique, ValidationError
from rivermill.unique import unique_key

_LINES = (Path(__file__).parent / "data" / "unique_keys.jsonl").read_text(encoding="ascii").splitlines()
CASES: list[dict[str, Any]] = [json.loads(line) for line in _LINES]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_keys_are_those_of_go(case: dict[str, Any]) -> None:
    described = case["unique"]
    unique = Unique(
        by_args=described.get("by_args", False),
        by_period=timedelta(seconds=described["by_period_seconds"]) if "by_period_seconds" in described else None,
        by_queue=described.get("by_queue", False),
        by_state=[JobState(state) for state in described.get("by_state", ())],
        exclude_kind=described.get("exclude_kind", False),
    )
    facts = {"kind": case["kind"], "queue": case["queue"], "args": case["args"], "at": datetime.fromisoformat(case["at"])}
    if case["key"] is None:
        with pytest.raises(ValidationError, match="JSON object"):
            unique_key(unique, **facts)
    else:
        assert unique_key(unique, **facts).hex() == case["key"]
    assert unique.state_mask == case["states"]


def test_none_is_missing() -> None:
    assert len(CASES) == 31
    assert sum(case["key"] is None for case in CASES) == 3
