"""A schema of its own for each test, as a fixture for pytest. Needs pytest, and ``TEST_DATABASE_URL``.

``pytest_plugins = ["rivermill.pytest_plugin"]`` in the topmost ``conftest.py`` makes the fixtures known. They are synchronous,
so any plugin for asynchronous tests goes with them, or none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rivermill.testing import migrated_schema

_VARIABLE = "TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def river_dsn() -> str:
    """The database that the tests' schemas are made in, ``TEST_DATABASE_URL``; define a fixture of this name for another."""
    dsn = os.environ.get(_VARIABLE)
    if not dsn:
        pytest.fail(f"{_VARIABLE} is not set: set it, or define a fixture river_dsn, e.g. postgresql://app@localhost/app_test")
    return dsn


@pytest.fixture
def river_schema(river_dsn: str) -> Iterator[str]:
    """A new schema with all tables, for ``Client(river_dsn, schema=river_schema)``; dropped after the test."""
    # On a thread, since a loop may run in this one; the schema's connection stays open on its loop meanwhile.
    with ThreadPoolExecutor(1, "rivermill-schema") as thread:
        runner, context = asyncio.Runner(), migrated_schema(river_dsn)
        try:
            name = thread.submit(lambda: runner.run(context.__aenter__())).result()
            try:
                yield name
            finally:
                thread.submit(lambda: runner.run(context.__aexit__(None, None, None))).result()
        finally:
            thread.submit(runner.close).result()
