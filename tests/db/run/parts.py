"""Jobs of a sequence for tests, and what has become of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rivermill import InsertOpts, InsertParams, SequenceOpts
from rivermill.db import Connection
from rivermill.schema import Schema

OF = SequenceOpts(by_args=["of"])
WAITING = ("rivermill_sequence", "rivermill_sequence_job")


@dataclass
class Part:
    kind: ClassVar[str] = "part"
    of: str = "a"
    does: str = ""


def part(of: str = "a", does: str = "", sequence: SequenceOpts = OF, **opts: Any) -> InsertParams:
    return InsertParams(Part(of, does), InsertOpts(sequence=sequence, **opts))


async def states(connection: Connection, schema: Schema) -> list[str]:
    rows = await connection.fetch(f"SELECT state::text FROM {schema.table('river_job')} WHERE kind = 'part' ORDER BY id")
    return [row["state"] for row in rows]


async def left(connection: Connection, schema: Schema) -> list[int]:
    """Rows of the tables for sequences."""
    return [await connection.fetchval(f"SELECT count(*) FROM {schema.table(table)}") for table in WAITING]


async def assert_in_order(connection: Connection, schema: Schema) -> None:
    """By the database's clock, each job began after the one before it had ended for good."""
    rows = await connection.fetch(f"""
        SELECT * FROM (
            SELECT id, attempted_at, lag(id) OVER w AS before_id, lag(finalized_at) OVER w AS before_ended
            FROM {schema.table("river_job")} WHERE kind = 'part' WINDOW w AS (PARTITION BY args ->> 'of' ORDER BY id)) AS jobs
        WHERE attempted_at < before_ended OR (before_id IS NOT NULL AND before_ended IS NULL AND attempted_at IS NOT NULL)
    """)
    assert [dict(row) for row in rows] == []
