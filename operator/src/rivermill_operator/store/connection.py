"""Opening a connection to a database, and what its errors are called in conditions."""

from __future__ import annotations

from typing import Any

import asyncpg

from rivermill_operator.store import database_url, statements
from rivermill_operator.store.port import StoreError

APPLICATION = "rivermill-operator"
STATEMENT_SECONDS = 1.0
CONNECT_SECONDS = 5.0

_SETTINGS = {
    "application_name": APPLICATION,
    "statement_timeout": str(int(STATEMENT_SECONDS * 1000)),
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
}

#: asyncpg raises its internal error when a connection is cut in the midst of a statement.
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


#: What helps, by reason; the message says before it what is wrong.
_MIGRATE = "run `rivermill migrate up` on this schema, or set database.migrate to Apply"
_WAYS_OUT = {
    "AuthenticationFailed": "correct user and password",
    "DatabaseNotFound": "create it, or correct the URL",
    "PermissionDenied": "grant it to the URL's user",
    "SchemaMissing": _MIGRATE,
    "SchemaOutdated": _MIGRATE,
}


async def connect(dsn: str) -> Any:
    """Open a connection.

    Raises:
        StoreError: it cannot be opened; the message never holds the password.
    """
    try:
        database_url.check(dsn)
        return await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS + 3, server_settings=_SETTINGS
        )
    except database_url.UrlError as error:
        raise _wrong_url(str(error)) from None
    except (*DATABASE_ERRORS, ValueError) as error:
        wrong = database_url.blamed(error, dsn)
        raise explain(error, dsn) if wrong is None else _wrong_url(wrong) from None


def _wrong_url(text: str) -> StoreError:
    return StoreError("InvalidDatabaseURL", f"{text[0].upper()}{text[1:]}.")


async def identify(connection: Any) -> str | None:
    """What tells this database from all others, whatever URL leads to it; None where the server does not say."""
    try:
        found: str = await connection.fetchval(statements.identity_sql())
    except asyncpg.PostgresError:
        return None
    return found


def place(dsn: str) -> str:
    """Where a URL leads, for messages: never a user or a password, even of a URL that is written wrongly."""
    try:
        return database_url.place(dsn) or "the database"
    except database_url.UrlError:
        return "the database"


def explain(error: BaseException, dsn: str) -> StoreError:
    """Name what is wrong with a database, in the words of a condition, and the way out."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        ((asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError), "AuthenticationFailed"),
        (asyncpg.InvalidCatalogNameError, "DatabaseNotFound"),
        (asyncpg.InsufficientPrivilegeError, "PermissionDenied"),
        ((asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedObjectError), "SchemaMissing"),
        (asyncpg.UndefinedColumnError, "SchemaOutdated"),
        (asyncpg.QueryCanceledError, "StatementTimeout"),
        (asyncpg.TooManyConnectionsError, "TooManyConnections"),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            way_out = f": {_WAYS_OUT[reason]}" if reason in _WAYS_OUT else ""
            return StoreError(reason, f"{place(dsn)} says {text}{way_out}.")
    if isinstance(error, TimeoutError):
        return StoreError("DatabaseUnreachable", f"{place(dsn)} did not answer in time.")
    if isinstance(error, asyncpg.PostgresError):
        return StoreError("DatabaseError", f"{place(dsn)} says {text}.")
    if isinstance(error, OSError):
        message = f"{place(dsn)} cannot be reached: {error.strerror or text}."
        return StoreError("DatabaseUnreachable", message)
    return StoreError("DatabaseUnreachable", f"The connection to {place(dsn)} was lost: {text}.")
