"""The driver's connection below a ``Connection`` or ``Session`` of SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session


def driver_connection(tx: Any) -> Any:
    """The driver's connection that a session uses, SQLAlchemy's transaction begun; anything else as it is."""
    if isinstance(tx, Session | scoped_session):
        tx = tx.connection()
    if not isinstance(tx, Connection):
        return tx
    if not tx.in_transaction():
        # SQLAlchemy begins a transaction with the first statement that it sees, and commits only what it has begun.
        tx.exec_driver_sql("SELECT 1")
    return tx.connection.driver_connection
