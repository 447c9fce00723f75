"""How ``river_job`` is stored: settings for a busy table, and the three indexes that working jobs does not need.

Neither is a part of River's migrations, which record versions and never look at tables: ``validate`` of every client passes
as before, and River's reindexer skips an index that is not there with a warning.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import asyncpg

from rivermill.db import Connection
from rivermill.errors import MigrationError
from rivermill.schema import Schema

TUNED: Mapping[str, str] = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "10000",
    "autovacuum_vacuum_insert_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_vacuum_cost_delay": "0",
}
"""Storage parameters for a table of which every row is written three times and then kept for a while."""

FILLFACTORS: Mapping[str, str] = {"river_job_pkey": "50", "river_job_kind": "50"}
"""Index → how full a new page is made, in percent. Each update adds an entry beside the one that it replaces: in a full page
PostgreSQL looks in vain for dead rows to remove, and splits it. The index ends as large with either."""

GIN_INDEXES: Mapping[str, str] = {"river_job_args_index": "gin (args)", "river_job_metadata_index": "gin (metadata)"}
"""Name → method and column. They serve searches for what args or metadata contain (``@>``), and nothing else."""

KIND_INDEX: Mapping[str, str] = {"river_job_kind": "btree (kind)"}
"""Name → method and column. It serves lists of the jobs of a kind, and nothing else."""

DROPPABLE: Mapping[str, str] = {**GIN_INDEXES, **KIND_INDEX}
"""All that working jobs does not need."""


@dataclass(frozen=True, slots=True)
class StorageState:
    """How the table is stored.

    Attributes:
        parameters: its storage parameters, all of them.
        indexes: of those that can be dropped the ones that are there → whether it is complete; one whose building was broken
            off is not.
        fillfactors: of the indexes of ``FILLFACTORS`` those that are there → theirs in percent; None where none is set.
    """

    parameters: Mapping[str, str]
    indexes: Mapping[str, bool]
    fillfactors: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """See ``Storage.change``."""

    tuned: bool | None = None
    gin_indexes: bool | None = None
    kind_index: bool | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A statement, and the time in seconds that it took (0 for a dry run)."""

    statement: str
    seconds: float


class Storage:
    """Looks at and changes the storage of a schema's ``river_job`` over a connection of the caller's.

    Args:
        connection: not inside a transaction, since indexes are made and dropped beside running workers.
        schema: where River's tables are.
    """

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self._connection = connection
        self._schema = schema

    async def state(self) -> StorageState:
        """How the table is stored now.

        Raises:
            MigrationError: there is no ``river_job``.
        """
        table = await self._connection.fetchrow(
            "SELECT oid, reloptions FROM pg_catalog.pg_class WHERE oid = to_regclass($1)", self._schema.table("river_job")
        )
        if table is None:
            raise MigrationError(f"schema {self._schema.name} has no river_job: run `rivermill migrate up` first")
        indexes = await self._connection.fetch(
            "SELECT relname::text AS name, indisvalid AS valid, reloptions AS options FROM pg_catalog.pg_index "
            "JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid WHERE indrelid = $1 AND relname = ANY($2::text[])",
            table["oid"],
            [*DROPPABLE, *FILLFACTORS],
        )
        return StorageState(
            _parsed(table["reloptions"]),
            {index["name"]: index["valid"] for index in indexes if index["name"] in DROPPABLE},
            {index["name"]: _parsed(index["options"]).get("fillfactor") for index in indexes if index["name"] in FILLFACTORS},
        )

    async def change(
        self,
        *,
        tuned: bool | None = None,
        gin_indexes: bool | None = None,
        kind_index: bool | None = None,
        dry_run: bool = False,
    ) -> list[Changed]:
        """Bring the storage to what is wanted; what is so already is left alone. Workers can go on meanwhile.

        Args:
            tuned: True sets the storage parameters of ``TUNED`` and ``FILLFACTORS``, False takes them back, None leaves them.
            gin_indexes: True makes the two GIN indexes, False drops them, None leaves them.
            kind_index: the same for the index of kinds.
            dry_run: only say what would be run.

        Raises:
            MigrationError: there is no ``river_job``, or a statement failed; those before it have had their effect.
        """
        wanted = Wanted(tuned, gin_indexes, kind_index)
        statements = statements_for(self._schema, await self.state(), wanted)
        return [Changed(statement, 0.0 if dry_run else await self._run(statement)) for statement in statements]

    async def _run(self, statement: str) -> float:
        started = time.monotonic()
        try:
            await self._connection.execute(statement)
        except asyncpg.PostgresError as error:
            way = ": let the owner of the table run it" if isinstance(error, asyncpg.InsufficientPrivilegeError) else ""
            raise MigrationError(f"{statement} failed: {error}{way}") from error
        return time.monotonic() - started


def statements_for(schema: Schema, state: StorageState, wanted: Wanted) -> list[str]:
    """What has to be run to bring the storage from its state to what is wanted; see ``Storage.change``."""
    return [
        *_indexes(schema, state, GIN_INDEXES, wanted.gin_indexes),
        *_indexes(schema, state, KIND_INDEX, wanted.kind_index),
        *_parameters(schema, state, wanted.tuned),
        *_fillfactors(schema, state, wanted),
    ]


def _indexes(schema: Schema, state: StorageState, indexes: Mapping[str, str], wanted: bool | None) -> Iterator[str]:
    for name, how in indexes.items() if wanted is not None else ():
        there, complete = name in state.indexes, state.indexes.get(name, False)
        if there and not (wanted and complete):
            yield f"DROP INDEX CONCURRENTLY {schema.table(name)}"
        if wanted and not complete:
            yield f'CREATE INDEX CONCURRENTLY "{name}" ON {schema.table("river_job")} USING {how}'


def _parameters(schema: Schema, state: StorageState, tuned: bool | None) -> Iterator[str]:
    table = schema.table("river_job")
    if tuned and any(state.parameters.get(name) != value for name, value in TUNED.items()):
        yield f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in TUNED.items())})"
    if tuned is False and (ours := [name for name in TUNED if name in state.parameters]):
        yield f"ALTER TABLE {table} RESET ({', '.join(ours)})"


def _fillfactors(schema: Schema, state: StorageState, wanted: Wanted) -> Iterator[str]:
    made = dict.fromkeys(KIND_INDEX) if wanted.kind_index else {}
    for name, now in {**made, **state.fillfactors}.items() if wanted.tuned is not None else ():
        if name in KIND_INDEX and wanted.kind_index is False:
            continue
        if wanted.tuned and now != FILLFACTORS[name]:
            yield f"ALTER INDEX {schema.table(name)} SET (fillfactor = {FILLFACTORS[name]})"
        if not wanted.tuned and now is not None:
            yield f"ALTER INDEX {schema.table(name)} RESET (fillfactor)"


def _parsed(options: Iterable[str] | None) -> dict[str, str]:
    return dict(option.split("=", 1) for option in options or ())
