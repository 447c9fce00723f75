"""What the drivers of systems on psycopg share: looks at their tables from outside of the system."""

from __future__ import annotations

from collections import Counter

import psycopg
from common import WATCHER


async def states(url: str, table: str, column: str) -> Counter[str]:
    """How many rows there are of each state."""
    async with await psycopg.AsyncConnection.connect(url, application_name=WATCHER) as connection:
        rows = await connection.execute(f"SELECT {column}::text, count(*) FROM {table} GROUP BY 1")
        return Counter(dict(await rows.fetchall()))


async def some(url: str, table: str, condition: str) -> bool:
    """Whether there are rows of which something holds."""
    async with await psycopg.AsyncConnection.connect(url, application_name=WATCHER) as connection:
        row = await (await connection.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {condition})")).fetchone()
        return bool(row and row[0])
