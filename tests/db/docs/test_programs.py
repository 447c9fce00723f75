"""Files that pages show run as they stand: programs, and tests under a pytest of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import eventually
from tests.documents import Block, fenced

FILES = [block for block in fenced("python") if block.file]
PROGRAMS = [block for block in FILES if "asyncio.run(" in block.text and block.file != "serve.py"]
(SERVE,) = [block for block in FILES if block.file == "serve.py"]
TESTED = {block.page for block in FILES if str(block.file).startswith("test_")}
#: What a program prints.
PRINTED = {"greet.py": "Hello, Ann, from job 1\n", "jobs.py": ""}


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_programs(program: Block, tmp_path: Path, dsn: str, schema: Schema) -> None:
    write(program.page, tmp_path)
    printed = run(tmp_path, str(program.file), DATABASE_URL=dsn, RIVER_SCHEMA=schema.name)
    assert printed == PRINTED[str(program.file)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_program_that_works_until_it_is_stopped(
    tmp_path: Path, connection: Connection, dsn: str, schema: Schema, number: signal.Signals
) -> None:
    write(SERVE.page, tmp_path)
    variables = environment() | {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema.name}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "serve.py", cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(60):
            # The handlers are there as soon as it has started: it claims then.
            table = schema.table("river_job")
            await connection.execute(
                f"INSERT INTO {table} (kind, args, max_attempts) VALUES ('greet', '{{\"name\": \"Eve\"}}', 1)"
            )

            async def done() -> bool:
                return bool(await connection.fetchval(f"SELECT count(*) FROM {table} WHERE state = 'completed'"))

            await eventually(done)
            process.send_signal(number)
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, printed) == (0, b"Hello, Eve, from job 1\n")
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 0


@pytest.mark.parametrize("page", sorted(TESTED), ids=lambda page: page.name)
def test_tests(page: Path, tmp_path: Path, dsn: str) -> None:
    write(page, tmp_path)
    (settings,) = (block.text for block in fenced("toml") if block.page == page)
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    printed = run(tmp_path, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", TEST_DATABASE_URL=dsn)
    count = sum(block.text.count("def test_") for block in FILES if block.page == page)
    assert f"{count} passed" in printed


def write(page: Path, folder: Path) -> None:
    """Write all files of a page."""
    for block in FILES:
        if block.page == page:
            (folder / str(block.file)).write_text(block.text, encoding="utf-8")


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """What a Python prints that knows nothing of this repository's settings."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment() | variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("RIVER_", "PYTEST_"))}
