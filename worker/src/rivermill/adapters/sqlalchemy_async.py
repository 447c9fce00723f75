"""The driver's connection below an ``AsyncConnection`` or ``AsyncSession`` of SQLAlchemy."""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session


async def driver_connection(tx: Any) -> Any:
    """The connection of asyncpg or psycopg that a session uses, its transaction begun; anything else as it is."""
    if isinstance(tx, AsyncSession | async_scoped_session):
        tx = await tx.connection()
    if not isinstance(tx, AsyncConnection):
        return tx
    driver = (await tx.get_raw_connection()).driver_connection
    unbegun = isinstance(driver, asyncpg.Connection) and not driver.is_in_transaction()
    if unbegun or not tx.in_transaction():
        # SQLAlchemy begins a transaction with the first statement that it sees, and commits only what it has begun.
        await tx.exec_driver_sql("SELECT 1")
    return driver
