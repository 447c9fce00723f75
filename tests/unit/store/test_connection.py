"""What messages say of a database: where it is and what helps, and nothing that is secret."""

from __future__ import annotations

import asyncpg
import pytest

from rivermill_operator.store.connection import explain, place


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://u:geheim@db.example:5433/jobs", "db.example:5433/jobs"),
        ("postgres://u@db/jobs?sslmode=require", "db/jobs"),
        ("postgresql://u:geheim@a:1,b:2/jobs", "a:1,b:2/jobs"),
        ("postgresql://u:geheim@[::1]:5432/jobs", "[::1]:5432/jobs"),
        ("postgresql://db/jobs", "db/jobs"),
        # Passwords that are not escaped.
        ("postgresql://u:ge/heim@db/jobs", "the database"),
        ("postgresql://u:ge#heim@db/jobs", "the database"),
        ("postgresql://u:ge?heim@db/jobs", "the database"),
        ("postgresql://u:ge@heim@db/jobs", "the database"),
        ("host=db password=geheim", "the database"),
        ("postgresql:///jobs?host=/run&password=geheim", "the database"),
        ("postgresql://[oops/jobs", "the database"),
        ("", "the database"),
    ],
)
def test_a_place_is_host_and_name_and_never_a_password(dsn: str, said: str) -> None:
    assert place(dsn) == said


DSN = "postgresql://u:geheim@db:5432/jobs"
NO_TABLE = 'relation "public.river_migration" does not exist'
WAY = "run `rivermill migrate up` on this schema, or set database.migrate to Apply."


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (asyncpg.UndefinedTableError(NO_TABLE), "SchemaMissing", f"db:5432/jobs says {NO_TABLE}: {WAY}"),
        (asyncpg.UndefinedColumnError("no column x"), "SchemaOutdated", f"db:5432/jobs says no column x: {WAY}"),
        (asyncpg.InvalidPasswordError("no"), "AuthenticationFailed", "db:5432/jobs says no: correct user and password."),
        (asyncpg.TooManyConnectionsError("too many"), "TooManyConnections", "db:5432/jobs says too many."),
        (TimeoutError(), "DatabaseUnreachable", "db:5432/jobs did not answer in time."),
        (OSError(111, "Connection refused"), "DatabaseUnreachable", "db:5432/jobs cannot be reached: Connection refused."),
        (asyncpg.DiskFullError("disk full"), "DatabaseError", "db:5432/jobs says disk full."),
        (ConnectionError("rejected SSL"), "DatabaseUnreachable", "db:5432/jobs cannot be reached: rejected SSL."),
        (asyncpg.InterfaceError("closed"), "DatabaseUnreachable", "The connection to db:5432/jobs was lost: closed."),
    ],
)
def test_an_error_says_where_and_the_way_out(error: Exception, reason: str, message: str) -> None:
    found = explain(error, DSN)
    assert (found.reason, found.message) == (reason, message)
