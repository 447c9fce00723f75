"""River UI, built from its Go module, whose archive holds the built front end too; and Debian's Chromium to look at it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Page, async_playwright

from tests.interop.peers import build_go
from tests.programs import installed

SOURCE = Path(__file__).parent / "go"
_START_SECONDS = 20.0
#: Root has no sandbox, and nothing but this computer is to be asked for anything.
_ARGUMENTS = [
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_VIEW = {"width": 1280, "height": 1350}


@dataclass(frozen=True)
class Programs:
    """Where the server and the browser are."""

    server: Path
    browser: str


def programs() -> Programs:
    """Build and install what is missing, for minutes on a new computer."""
    return Programs(build_go(SOURCE, "riverqueue.com/riverui/cmd/riverui", "riverui"), installed("chromium"))


@asynccontextmanager
async def river_ui(program: Path, dsn: str, schema: str, log: Path) -> AsyncIterator[str]:
    """Run the server on a schema; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"DATABASE_URL": dsn, "RIVER_HOST": "127.0.0.1", "PORT": str(port), "RIVER_SCHEMA": schema}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(str(program), env=env, stdout=output, stderr=output)
    try:
        await _answers(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            assert process.returncode is None, f"River UI has ended; see {log}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return


@asynccontextmanager
async def browser(program: str, address: str) -> AsyncIterator[Page]:
    """Open a browser without a window; yields a page whose paths are below the address."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        page = await chromium.new_page(base_url=address, viewport=_VIEW)  # type: ignore[arg-type]
        yield page
        await chromium.close()
