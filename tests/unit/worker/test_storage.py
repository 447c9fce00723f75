"""What is run to bring the storage of ``river_job`` from one state to another."""

from __future__ import annotations

import pytest

from rivermill.migrations.storage import FILLFACTORS, KIND_INDEX, TUNED, StorageState, Wanted, statements_for
from rivermill.schema import Schema

ARGS, METADATA = "river_job_args_index", "river_job_metadata_index"
BOTH = {ARGS: True, METADATA: True}


@pytest.mark.parametrize(
    ("indexes", "wanted", "statements"),
    [
        (BOTH, None, []),
        (BOTH, True, []),
        (BOTH, False, [f'DROP INDEX CONCURRENTLY "s"."{ARGS}"', f'DROP INDEX CONCURRENTLY "s"."{METADATA}"']),
        ({}, False, []),
        ({ARGS: True, METADATA: False}, None, []),
        (
            {ARGS: True, METADATA: False},
            True,
            [
                f'DROP INDEX CONCURRENTLY "s"."{METADATA}"',
                f'CREATE INDEX CONCURRENTLY "{METADATA}" ON "s"."river_job" USING gin (metadata)',
            ],
        ),
        (
            {METADATA: True},
            True,
            [f'CREATE INDEX CONCURRENTLY "{ARGS}" ON "s"."river_job" USING gin (args)'],
        ),
    ],
)
def test_indexes(indexes: dict[str, bool], wanted: bool | None, statements: list[str]) -> None:
    assert statements_for(Schema("s"), StorageState({}, indexes, {}), Wanted(gin_indexes=wanted)) == statements


def test_parameters() -> None:
    def statements(parameters: dict[str, str], tuned: bool | None) -> list[str]:
        return statements_for(Schema("s"), StorageState(parameters, BOTH, {}), Wanted(tuned))

    users = {"toast_tuple_target": "4080"}
    assert statements(users, None) == statements(users, False) == statements(users | dict(TUNED), True) == []
    (made,) = statements(users | {next(iter(TUNED)): "0.9"}, True)
    assert made.startswith('ALTER TABLE "s"."river_job" SET (')
    assert all(f"{name} = {value}" in made for name, value in TUNED.items())
    (taken_back,) = statements(users | dict(TUNED), False)
    assert taken_back == f'ALTER TABLE "s"."river_job" RESET ({", ".join(TUNED)})'


PKEY, (KIND,) = "river_job_pkey", KIND_INDEX
AS_MADE = {PKEY: None, KIND: None}


@pytest.mark.parametrize(
    ("fillfactors", "wanted", "statements"),
    [
        (AS_MADE, Wanted(), []),
        (AS_MADE, Wanted(tuned=False), []),
        (AS_MADE, Wanted(tuned=True), [f"{PKEY} SET (fillfactor = 50)", f"{KIND} SET (fillfactor = 50)"]),
        ({PKEY: "70", KIND: "50"}, Wanted(tuned=True), [f"{PKEY} SET (fillfactor = 50)"]),
        (FILLFACTORS, Wanted(tuned=True), []),
        (FILLFACTORS, Wanted(tuned=False), [f"{PKEY} RESET (fillfactor)", f"{KIND} RESET (fillfactor)"]),
        ({PKEY: None}, Wanted(tuned=True), [f"{PKEY} SET (fillfactor = 50)"]),
        (AS_MADE, Wanted(tuned=True, kind_index=False), [f"{PKEY} SET (fillfactor = 50)"]),
        ({PKEY: "50"}, Wanted(tuned=True, kind_index=True), [f"{KIND} SET (fillfactor = 50)"]),
    ],
)
def test_fillfactors(fillfactors: dict[str, str | None], wanted: Wanted, statements: list[str]) -> None:
    there = {KIND: True} if KIND in fillfactors else {}
    made = statements_for(Schema("s"), StorageState(TUNED if wanted.tuned else {}, there, fillfactors), wanted)
    altered = [statement.replace('ALTER INDEX "s".', "").replace('"', "") for statement in made if "ALTER" in statement]
    assert altered == statements
    assert [statement.split()[0] for statement in made if "ALTER" not in statement] == (
        [] if wanted.kind_index is None else ["CREATE" if wanted.kind_index else "DROP"]
    )
