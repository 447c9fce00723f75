"""Answers one request a line until stdin ends."""

from __future__ import annotations

import asyncio
import logging
import sys

from tests.interop.adapter.beside import MethodsBeside
from tests.interop.adapter.methods import Methods
from tests.interop.adapter.rpc import respond
from tests.interop.adapter.state import State

_MAX_LINE = 64 << 20


async def main() -> None:
    """Serve."""
    state = State.from_environment()
    methods = Methods(state).table() | MethodsBeside(state).table()
    reader = asyncio.StreamReader(limit=_MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            response = await respond(line, methods)
            await asyncio.to_thread(_write, response)
    finally:
        await state.close()


def _write(response: bytes) -> None:
    sys.stdout.buffer.write(response + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # That jobs fail is what the tests ask for, thousands of times; River for Go's side says errors only, too.
    logging.getLogger("rivermill.executor").setLevel(logging.ERROR)
    asyncio.run(main())
