"""The application's own tables, beside River's: libraries, their files, and which scans were made."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from library.paths import decode_path, encode_path
from library.scan import Entry, Known, Scan

#: ``directory`` (relative to the root) and ``name`` are escaped as ``library.paths`` says.
SCHEMA = """
CREATE SCHEMA IF NOT EXISTS library;
CREATE TABLE IF NOT EXISTS library.library (id uuid PRIMARY KEY, root text NOT NULL);
CREATE TABLE IF NOT EXISTS library.file (
    library_id uuid NOT NULL, directory text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
    size bigint NOT NULL, mtime_ns bigint NOT NULL, type text NOT NULL, digest bytea, problem text,
    scanned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (library_id, directory, name)
);
CREATE TABLE IF NOT EXISTS library.scan (
    id bigserial PRIMARY KEY, library_id uuid NOT NULL, directory text COLLATE "C" NOT NULL,
    job_id bigint NOT NULL, attempt int NOT NULL,
    files int NOT NULL, skipped int NOT NULL, problem text, finished_at timestamptz NOT NULL DEFAULT now()
);
"""


async def create_tables(connection: Any) -> None:
    """Make the tables, if they are not there."""
    await connection.execute(SCHEMA)


async def known_files(connection: Any, library_id: UUID, directory: bytes) -> dict[bytes, Known]:
    """What earlier scans recorded of a directory's files and could read."""
    rows = await connection.fetch(
        "SELECT name, size, mtime_ns FROM library.file WHERE library_id = $1 AND directory = $2 AND digest IS NOT NULL",
        library_id,
        encode_path(directory),
    )
    return {decode_path(row["name"]): Known(row["size"], row["mtime_ns"]) for row in rows}


async def record(connection: Any, library_id: UUID, directory: bytes, found: Scan, job: tuple[int, int]) -> None:
    """Write one scan in one transaction: new and changed files, files that are gone, and the scan itself.

    What was known of a directory that may not be listed now stays as it is.

    Args:
        connection: an asyncpg connection.
        library_id: the library.
        directory: relative to the library's root.
        found: what the scan found.
        job: id and attempt of the job.
    """
    key, entries = encode_path(directory), found.entries or []
    changed = [entry for entry in entries if not entry.unchanged]
    async with connection.transaction():
        # Two scans of one directory take turns: they write the same rows.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{library_id}/{key}")
        if found.entries is not None:
            await _upsert(connection, library_id, key, changed)
            await connection.execute(
                "DELETE FROM library.file WHERE library_id = $1 AND directory = $2 AND name <> ALL($3::text[])",
                library_id,
                key,
                [encode_path(entry.name) for entry in entries],
            )
        await connection.execute(
            "INSERT INTO library.scan (library_id, directory, job_id, attempt, files, skipped, problem) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            library_id,
            key,
            *job,
            len(entries),
            len(entries) - len(changed),
            found.problem,
        )


async def _upsert(connection: Any, library_id: UUID, key: str, changed: list[Entry]) -> None:
    await connection.execute(
        "INSERT INTO library.file (library_id, directory, name, size, mtime_ns, type, digest, problem) "
        "SELECT $1, $2, * FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::text[]) "
        "ON CONFLICT (library_id, directory, name) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
        "type = excluded.type, digest = excluded.digest, problem = excluded.problem, scanned_at = now()",
        library_id,
        key,
        [encode_path(entry.name) for entry in changed],
        [entry.size for entry in changed],
        [entry.mtime_ns for entry in changed],
        [entry.type for entry in changed],
        [entry.digest for entry in changed],
        [entry.problem for entry in changed],
    )
