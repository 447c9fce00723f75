"""A TCP proxy in front of the database, whose connections a test can cut and refuse."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on until it is told to be down.

    Args:
        dsn: the database behind it.

    Attributes:
        refused: connections that were refused since it went down.
    """

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._down = False
        self.refused = 0

    @property
    def dsn(self) -> str:
        """The database by way of this proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.netloc.rpartition("@")[0]
        return self._target._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}").geturl()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.go_down()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def go_down(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._down, self.refused = True, 0
        for writer in self._writers:
            writer.transport.abort()

    def come_back(self) -> None:
        """Accept connections again."""
        self._down = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._down:
            upstream = await asyncio.open_connection(self._target.hostname, self._target.port)
            if not self._down:
                self._join(reader, upstream[1])
                self._join(upstream[0], writer)
                return
            upstream[1].transport.abort()  # it went down in the meantime
        self.refused += 1
        writer.transport.abort()

    def _join(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        self._writers.add(target)
        task = asyncio.create_task(self._pump(source, target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    target.write(data)
                    await target.drain()
        finally:
            self._writers.discard(target)
            target.transport.abort()
