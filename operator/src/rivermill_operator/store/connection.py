"""Opening a connection to a database, and what its errors are called in conditions."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from rivermill_operator.store import statements
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
_HOSTS = re.compile(r"[A-Za-z0-9._:,\[\]-]+")


async def connect(dsn: str) -> Any:
    """Open a connection.

    Raises:
        StoreError: it cannot be opened; the message never holds the password.
    """
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS + 3, server_settings=_SETTINGS
        )
    except (*DATABASE_ERRORS, ValueError) as error:
        raise explain(error, dsn) from None


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
        parts = urlsplit(dsn)
    except ValueError:
        return "the database"
    hosts = parts.netloc.rpartition("@")[2]
    # With an @ behind the host, what looks like the host may be the beginning of a password that holds a slash.
    if "@" in parts.path + parts.query + parts.fragment or not _HOSTS.fullmatch(hosts):
        return "the database"
    return f"{hosts}{parts.path}"


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
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError) and not isinstance(error, OSError):
        # asyncpg quotes the URL in some of these, password included.
        return StoreError("InvalidDatabaseURL", "The Secret does not hold a postgresql:// URL that can be read.")
    if isinstance(error, OSError):
        message = f"{place(dsn)} cannot be reached: {error.strerror or type(error).__name__}."
        return StoreError("DatabaseUnreachable", message)
    return StoreError("DatabaseUnreachable", f"The connection to {place(dsn)} was lost: {text}.")
