"""What the other tests of this tier run on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from rivermill.db import Connection

_OLDEST = 15


@pytest.fixture
def expected() -> int | None:
    """The major version that was asked for, if one was."""
    programs = os.environ.get("POSTGRES_BIN")
    if not programs or "DATABASE_URL" in os.environ:
        return None
    said = subprocess.run([Path(programs, "postgres"), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\d+", said)
    assert found is not None, said
    return int(found.group())


async def test_the_server_is_the_one_that_was_asked_for(connection: Connection, expected: int | None) -> None:
    """A tier for one version that ran on another would prove nothing."""
    major = int(await connection.fetchval("SHOW server_version_num")) // 10_000
    assert major >= _OLDEST
    assert expected in (None, major)
