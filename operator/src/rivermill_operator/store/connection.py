"""Opening a connection to a database, and what its errors are called in conditions."""

from __future__ import annotations

from typing import Any

import asyncpg

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
        raise explain(error) from None


def explain(error: BaseException) -> StoreError:
    """Name what is wrong with a database, in the words of a condition."""
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
            return StoreError(reason, f"{text}.")
    if isinstance(error, TimeoutError):
        return StoreError("DatabaseUnreachable", "The database did not answer in time.")
    if isinstance(error, asyncpg.PostgresError):
        return StoreError("DatabaseError", f"{text}.")
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError) and not isinstance(error, OSError):
        # asyncpg quotes the URL in some of these, password included.
        return StoreError("InvalidDatabaseURL", "The Secret does not hold a postgresql:// URL that can be read.")
    if isinstance(error, OSError):
        return StoreError("DatabaseUnreachable", f"The database cannot be reached: {error.strerror or type(error).__name__}.")
    return StoreError("DatabaseUnreachable", f"The connection was lost: {text}.")
