"""A part without which the operator must not live on takes the process with it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
from rivermill_operator.vital import vital

async def fails(): raise KeyError("metadata")
async def returns(): pass
async def waits(): await asyncio.sleep(60)

async def main():
    task = vital({work}(), "cache of pods")
    try:
        await asyncio.sleep({seconds})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        print("tidied up", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("work", "seconds", "code", "said"),
    [
        ("fails", 60, 1, ["the process ends, for a part of it has", "KeyError: 'metadata'"]),
        ("returns", 60, 1, ["the process ends, for a part of it has"]),
        ("waits", 0.1, 0, []),
    ],
)
def test_the_process_ends_with_it(work: str, seconds: float, code: int, said: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(work=work, seconds=seconds)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == code
    assert done.stdout == ("" if code else "tidied up\n")
    assert [text for text in said if text not in done.stderr] == []
