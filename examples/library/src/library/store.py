"""The application's own tables, beside River's: libraries, their files, and which scans were made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from library.scan import Entry, Known

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS library;
CREATE TABLE IF NOT EXISTS library.library (id uuid PRIMARY KEY, root text NOT NULL);
CREATE TABLE IF NOT EXISTS library.file (
    library_id uuid NOT NULL, directory bytea NOT NULL, name bytea NOT NULL,
    size bigint NOT NULL, mtime_ns bigint NOT NULL, type text NOT NULL, digest bytea, problem text,
    scanned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (library_id, directory, name)
);
CREATE TABLE IF NOT EXISTS library.scan (
    id bigserial PRIMARY KEY, job_id bigint NOT NULL, attempt int NOT NULL, directory bytea NOT NULL,
    files int NOT NULL, skipped int NOT NULL, problem text, finished_at timestamptz NOT NULL DEFAULT now()
);
"""


async def create_tables(connection: Any) -> None:
    """Make the tables, if they are not there."""
    await connection.execute(SCHEMA)


async def known_files(connection: Any, library_id: UUID, directory: str) -> dict[bytes, Known]:
    """What earlier scans recorded of a directory's files and could read."""
    rows = await connection.fetch(
        "SELECT name, size, mtime_ns FROM library.file WHERE library_id = $1 AND directory = $2 AND digest IS NOT NULL",
        library_id,
        os.fsencode(directory),
    )
    return {row["name"]: Known(row["size"], row["mtime_ns"]) for row in rows}


async def record(
    connection: Any, library_id: UUID, directory: str, entries: Sequence[Entry], scan: tuple[int, int, str | None]
) -> None:
    """Write one scan in one transaction: new and changed files, files that are gone, and the scan itself.

    Args:
        connection: an asyncpg connection.
        library_id: the library.
        directory: relative to the library's root.
        entries: everything found.
        scan: job id, attempt, and why the directory could not be read, if so.
    """
    key = os.fsencode(directory)
    changed = sorted((e for e in entries if not e.unchanged), key=lambda e: e.name)
    job_id, attempt, problem = scan
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO library.file (library_id, directory, name, size, mtime_ns, type, digest, problem) "
            "SELECT $1, $2, * FROM unnest($3::bytea[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::text[]) "
            "ON CONFLICT (library_id, directory, name) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "type = excluded.type, digest = excluded.digest, problem = excluded.problem, scanned_at = now()",
            library_id,
            key,
            [e.name for e in changed],
            [e.size for e in changed],
            [e.mtime_ns for e in changed],
            [e.type for e in changed],
            [e.digest for e in changed],
            [e.problem for e in changed],
        )
        await connection.execute(
            "DELETE FROM library.file WHERE library_id = $1 AND directory = $2 AND name <> ALL($3::bytea[])",
            library_id,
            key,
            [e.name for e in entries],
        )
        await connection.execute(
            "INSERT INTO library.scan (job_id, attempt, directory, files, skipped, problem) VALUES ($1, $2, $3, $4, $5, $6)",
            job_id,
            attempt,
            key,
            len(entries),
            len(entries) - len(changed),
            problem,
        )
