"""A conversation that River for Go has had, had again with each implementation: every answer must be the same.

``data/transcript.jsonl`` has a request and River's response in turn. Ids are equal because the schema is new; times are not.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import Spawn
from tests.interop.peers import Peer

_LINES = (Path(__file__).parent / "data" / "transcript.jsonl").read_text().splitlines()
_TIME = re.compile(r"20[23]\d-\d\d-\d\dT[\d:.]+Z")
_GIVEN = "2031-02-03T04:05:06.789Z"
#: What a request before brings about takes its time.
_SECONDS = 15.0


def _normal(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs by nature: clocks, names of implementations, and the words of messages."""
    text = json.dumps(response, default=str, sort_keys=True)
    value: dict[str, Any] = json.loads(_TIME.sub(lambda match: match[0] if match[0] == _GIVEN else "T", text))
    if "error" in value:
        value["error"] = value["error"]["code"]
    elif "implementation" in value["result"]:
        value["result"] = sorted(value["result"])
    elif "events" in value["result"]:
        value["result"]["events"].sort()
    return value


async def _answers_alike(peer: Peer, request: dict[str, Any], expected: dict[str, Any]) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        answer = _normal(await peer.send(json.dumps(request), request["id"]))
        if answer == expected or request["method"] not in ("list", "stats") or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    assert answer == expected, request


@pytest.mark.parametrize("name", ["go", "python"])
async def test_the_same_requests_have_the_same_answers(spawn: Spawn, name: str) -> None:
    peer = await spawn(name)
    for asked, answered in zip(_LINES[::2], _LINES[1::2], strict=True):
        request = json.loads(asked)["request"]
        expected = _normal(json.loads(answered, parse_float=Decimal)["response"])
        await _answers_alike(peer, request, expected)
