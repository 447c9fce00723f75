"""What a prepared statement really did, in its plan."""

from __future__ import annotations

import json
from typing import Any

from rivermill.db import Connection

FINISHED, WAITING, BATCH = 50_000, 2_000, 100
CLIENT = "client"


async def plan(connection: Connection, sql: str, *args: Any) -> dict[str, Any]:
    """Execute the statement by its generic plan, the one for any values; returns that with what each node really did."""
    return await _execute(connection, sql, args, "generic")


async def plan_with_values(connection: Connection, sql: str, *args: Any) -> dict[str, Any]:
    """The same by a custom plan, made for these values."""
    return await _execute(connection, sql, args, "custom")


async def _execute(connection: Connection, sql: str, args: tuple[Any, ...], kind: str) -> dict[str, Any]:
    await connection.execute(f"SET plan_cache_mode = force_{kind}_plan")
    statement = await connection.prepare(sql)
    # EXPLAIN of the text itself would be planned with the values, whatever the mode; and EXECUTE takes no parameters.
    types = [parameter.name for parameter in statement.get_parameters()]
    texts = ", ".join(f"quote_nullable(${number}::{name}::text)" for number, name in enumerate(types, 1))
    literals = f"({', '.join(await connection.fetchrow(f'SELECT {texts}', *args))})" if args else ""
    explain = f'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE "{statement.get_name()}"{literals}'
    root: dict[str, Any] = json.loads(await connection.fetchval(explain))[0]["Plan"]
    count = f"SELECT {kind}_plans FROM pg_prepared_statements WHERE name = $1"
    assert not args or await connection.fetchval(count, statement.get_name()) == 1
    return root


def nodes(root: dict[str, Any]) -> list[dict[str, Any]]:
    return [root, *(node for child in root.get("Plans", ()) for node in nodes(child))]


def blocks(root: dict[str, Any]) -> int:
    read: int = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    return read


def check(root: dict[str, Any], indexes: set[str], most_buffers: int, *, walks: bool = False) -> None:
    """These indexes and no table are read; unless the statement ``walks`` one in its order, entries are looked up in each."""
    seen = nodes(root)
    assert [node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"] == []
    assert {node["Index Name"] for node in seen if "Index Name" in node} == indexes
    assert walks or [node["Index Name"] for node in seen if "Index Name" in node and "Index Cond" not in node] == []
    assert blocks(root) <= most_buffers
