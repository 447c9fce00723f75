"""Connections to Postgres: how they are opened, and the one that a client shares between its writers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from rivermill.database_url import UrlError, blamed, check, read
from rivermill.errors import (
    ConfigError,
    DatabaseUnavailableError,
    LoginRefusedError,
    MigrationError,
    RivermillError,
    UniqueConflictError,
)
from rivermill.login import Login

Connection = Any
"""An ``asyncpg.Connection`` (asyncpg ships no complete types)."""

CONNECT_TIMEOUT = timedelta(seconds=10)
STATEMENT_TIMEOUT = timedelta(seconds=10)
_STATEMENTS_KEPT = 100

_UNIQUE_VIOLATION, _UNDEFINED_TABLE = "23505", "42P01"
#: SQLSTATE classes and codes that refuse what a statement holds, or that come of an earlier refusal in its transaction.
_REFUSALS = ("22", "23", "25P02", "54", "P0")
#: Those that have nothing to do with the rows of a statement: connections are made anew, locks are let go, disks are emptied.
_FOR_ALL = ("08", "25006", "40", "53", "55", "57", "58")


DATABASE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    DatabaseUnavailableError,
)
"""What a statement raises when the server refuses it or the connection is lost (asyncpg raises its internal error when
a connection is cut in the midst of a statement)."""


#: A server that comes back finds everybody at work within five seconds of it.
_LONGEST_PAUSE_SECONDS = 3.0


def back_off(failures: int) -> float:
    """Seconds until a connection is made anew or a statement tried again, after so many failures in a row."""
    return min(_LONGEST_PAUSE_SECONDS, 0.1 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


def describe(dsn: str) -> str:
    """Say where a DSN points without its password, e.g. ``postgresql://app@db:5432/library``.

    Raises:
        ConfigError: it is no URL, or may have a password that is not percent-encoded; the message holds nothing of it.
    """
    try:
        parts = read(dsn)
    except UrlError as error:
        raise ConfigError(str(error)) from None
    login, _, hosts = parts.netloc.rpartition("@")
    user = f"{login.partition(':')[0]}@" if login else ""
    return f"{parts.scheme}://{user}{hosts}{parts.path}"


def is_refusal(error: BaseException) -> bool:
    """Whether the database will never do this work: it refuses what the statement holds."""
    return _sqlstate(error).startswith(_REFUSALS)


def is_about_rows(error: BaseException) -> bool:
    """Whether the same work on other rows may succeed now: a trigger or a policy may have failed on one of these."""
    return bool(_sqlstate(error)) and not _sqlstate(error).startswith(_FOR_ALL)


def _sqlstate(error: BaseException) -> str:
    return str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def unique_conflict(message: str) -> AbstractContextManager[None]:
    """Raise UniqueConflictError where a statement violates a unique index, whichever driver says so."""
    return _instead_of(_UNIQUE_VIOLATION, UniqueConflictError(message))


def missing_table(message: str) -> AbstractContextManager[None]:
    """Raise MigrationError where a statement needs a table that is not there, whichever driver says so."""
    return _instead_of(_UNDEFINED_TABLE, MigrationError(message))


#: A connection is cut; asyncpg raises its internal error when that comes between two statements.
_LOST = (
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)


#: What is raised where River's tables, or what newer versions of them have, are not there.
_MISSING = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Around what a program asks of a client, whose driver it need not know.

    Raises:
        DatabaseUnavailableError: the connection was lost.
        MigrationError: a table is not there.
    """
    try:
        yield
    except _LOST as error:
        # What the driver says where a connection is cut between two messages is about its own state.
        said = "it was cut in the midst of a call" if isinstance(error, asyncpg.InternalClientError) else _first_line(error)
        text = f"the connection was lost: {said}; what was asked may have been done all the same"
        raise DatabaseUnavailableError(text) from error
    except asyncpg.UndefinedTableError as error:
        raise MigrationError(explain(error)) from error


def explain(error: Exception) -> str:
    """What the database said, in one line, and the way out where it is known."""
    text = _first_line(error)
    if isinstance(error, _MISSING):
        way = "run `rivermill migrate up` on this schema, or name another with --schema or RIVER_SCHEMA (schema= in Python)"
        return f"{text}: {way}"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"{text}: grant it to the user of the database URL"
    return f"the database: {text}"


@contextmanager
def _instead_of(sqlstate: str, ours: RivermillError) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if getattr(error, "sqlstate", None) != sqlstate:
            raise
        raise ours from error


async def connect(
    dsn: str, *, application_name: str, statement_timeout: timedelta | None = STATEMENT_TIMEOUT, pooled: bool = False
) -> Connection:
    """Open one connection with Rivermill's session settings.

    Args:
        dsn: a ``postgresql://`` URL.
        application_name: what ``pg_stat_activity`` shows, unless the URL has one.
        statement_timeout: the server ends a statement that takes longer; the client gives up 5 s after that. None is no
            limit.
        pooled: the DSN leads to a transaction pooler, where a session has no settings and keeps no statements.

    Raises:
        ConfigError: the DSN is wrong.
        DatabaseUnavailableError: there is no server, no such database, or the login is refused.
    """
    place = describe(dsn)
    try:
        check(dsn)
    except UrlError as error:
        raise ConfigError(str(error)) from None
    seconds = 0.0 if statement_timeout is None else statement_timeout.total_seconds()
    settings = {} if "application_name" in parse_qs(urlsplit(dsn).query) else {"application_name": application_name}
    if not pooled:
        settings |= {
            "jit": "off",
            "statement_timeout": str(int(seconds * 1000)),
            "idle_in_transaction_session_timeout": "60000",
        }
    try:
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT.total_seconds(),
            command_timeout=seconds + 5 if seconds else None,
            server_settings=settings,
            statement_cache_size=0 if pooled else _STATEMENTS_KEPT,
        )
    except (*DATABASE_ERRORS, ValueError) as error:
        wrong = blamed(error, dsn)
        if wrong is None or isinstance(error, OSError):
            # A file that is missing may be about to be there again.
            refused = isinstance(error, asyncpg.InvalidAuthorizationSpecificationError)
            kind = LoginRefusedError if refused else DatabaseUnavailableError
            raise kind(f"cannot connect to {place}: {wrong or _first_line(error)}{_of_pooler(error)}") from None
        raise ConfigError(wrong) from None


def _of_pooler(error: BaseException) -> str:
    """The way out where a pooler refuses what a session of ours begins with; empty where it is something else."""
    if "unsupported startup parameter" not in str(error):
        return ""
    return "; through a transaction pooler such as PgBouncer set transaction_pooler=True (RIVER_TRANSACTION_POOLER=true)"


@asynccontextmanager
async def pinned(connection: Connection, *, pooled: bool) -> AsyncIterator[None]:
    """What statements are to run in: behind a transaction pooler a transaction, so that all of one reach the same server."""
    # What some statements need, and none within can ask for: a database may have another default.
    context = connection.transaction(isolation="read_committed") if pooled else nullcontext()
    with _cancelled_first():
        async with context:
            yield


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _cancelled_first() -> Iterator[None]:
    """Let a cancellation pass that leaving a transaction hides by an error: who took that for a failure would try again."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except Exception as error:
        if task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise


class SharedConnection:
    """One connection that several tasks use in turn: opened when first needed, opened anew after a loss.

    Args:
        dsn: a ``postgresql://`` URL.
        application_name: what ``pg_stat_activity`` shows.
        statement_timeout: as for ``connect``.
        pooled: as for ``connect``.

    Attributes:
        login: how the attempts to open it ended.
    """

    def __init__(
        self,
        dsn: str,
        application_name: str,
        *,
        statement_timeout: timedelta | None = STATEMENT_TIMEOUT,
        pooled: bool = False,
    ) -> None:
        self._statement_timeout = statement_timeout
        self._dsn = dsn
        self._pooled = pooled
        self._application_name = application_name
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self.login = Login()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Wait for the turn and yield the connection.

        Raises:
            ConfigError: the DSN cannot be read, or the connection belongs to another event loop.
            DatabaseUnavailableError: no connection could be made.
        """
        self._enter_loop()
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                with self.login.attempt():
                    self._connection = await connect(
                        self._dsn,
                        application_name=self._application_name,
                        statement_timeout=self._statement_timeout,
                        pooled=self._pooled,
                    )
            try:
                async with pinned(self._connection, pooled=self._pooled):
                    yield self._connection
            except (asyncpg.InternalClientError, asyncio.CancelledError, TimeoutError):
                # Cut off while it began a transaction, a user has left that open for the next.
                self._connection.terminate()
                raise

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._lock.locked() or (self._connection is not None and not self._connection.is_closed()):
            raise ConfigError(
                "this Client belongs to another event loop, where it was used first and not stopped: "
                "use SyncClient, or make a client in each"
            )
        self._loop, self._lock = loop, asyncio.Lock()

    async def close(self) -> None:
        """Close the connection once the last user has let go of it; raises ConfigError in another event loop than its."""
        self._enter_loop()
        async with self._lock:
            if self._connection is not None and not self._connection.is_closed():
                try:
                    await self._connection.close(timeout=5)
                except DATABASE_ERRORS:
                    self._connection.terminate()
            self._connection = None  # while ``login`` stays: who closes it after each use is refused as well
