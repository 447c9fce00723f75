"""What is run to bring the storage of ``river_job`` from one state to another."""

from __future__ import annotations

import pytest

from rivermill.migrations.storage import TUNED, StorageState, statements_for
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
    assert statements_for(Schema("s"), StorageState({}, indexes), tuned=None, gin_indexes=wanted) == statements


def test_parameters() -> None:
    def statements(parameters: dict[str, str], tuned: bool | None) -> list[str]:
        return statements_for(Schema("s"), StorageState(parameters, BOTH), tuned=tuned, gin_indexes=None)

    users = {"toast_tuple_target": "4080"}
    assert statements(users, None) == statements(users, False) == statements(users | dict(TUNED), True) == []
    (made,) = statements(users | {next(iter(TUNED)): "0.9"}, True)
    assert made.startswith('ALTER TABLE "s"."river_job" SET (')
    assert all(f"{name} = {value}" in made for name, value in TUNED.items())
    (taken_back,) = statements(users | dict(TUNED), False)
    assert taken_back == f'ALTER TABLE "s"."river_job" RESET ({", ".join(TUNED)})'
