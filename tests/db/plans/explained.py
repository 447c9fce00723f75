"""What a statement really did, in its plan."""

from __future__ import annotations

import json
from typing import Any

from rivermill.db import Connection

FINISHED, WAITING, BATCH = 50_000, 2_000, 100
CLIENT = "client"


async def plan(connection: Connection, sql: str, *args: Any) -> dict[str, Any]:
    """Execute the statement and return its plan with what each node really did."""
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *args)
    root: dict[str, Any] = json.loads(text)[0]["Plan"]
    return root


def nodes(root: dict[str, Any]) -> list[dict[str, Any]]:
    return [root, *(node for child in root.get("Plans", ()) for node in nodes(child))]


def check(root: dict[str, Any], indexes: set[str], most_buffers: int) -> None:
    seen = nodes(root)
    assert [node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"] == []
    assert {node["Index Name"] for node in seen if "Index Name" in node} == indexes
    assert root["Shared Hit Blocks"] + root["Shared Read Blocks"] <= most_buffers
