"""Processes that speak River's conformance contract: River for Go, built here, and ours."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from devcluster import paths
from devcluster.binaries import find_go

SOURCE = Path(__file__).parent / "go"
ROOT = Path(__file__).parents[2]
_READY_SECONDS = 60.0
_ANSWER_SECONDS = 120.0
_EXIT_SECONDS = 30.0
_MAX_LINE = 64 << 20


def build_go(source: Path = SOURCE, package: str = ".", name: str = "riverpeer") -> Path:
    """A program of a Go module here, built once for each state of that."""
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(file.read_bytes())
    program = paths.cache() / f"{name}-{digest.hexdigest()[:12]}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
        subprocess.run([find_go(), "build", "-o", str(partial), package], cwd=source, env=env, check=True, timeout=600)
        partial.rename(program)
    return program


def command_of(name: str) -> tuple[str, ...]:
    """How to start an implementation, ``go`` or ``python``."""
    return (str(build_go()),) if name == "go" else (sys.executable, "-m", "tests.interop.adapter")


class PeerError(Exception):
    """A peer refused a request."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Peer:
    """One process of an implementation.

    Args:
        name: the implementation, e.g. ``go``.
        command: how to start it.
        dsn: the database.
        schema: what its search_path is.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str, command: Sequence[str], dsn: str, schema: str) -> None:
        self.name = name
        self.application = f"{name} {os.getpid()} {next(self._numbers)}"
        self._command = list(command)
        self._env = os.environ | {
            "RIVER_CONFORMANCE_DATABASE_URL": f"{dsn}?options={quote(f'-c search_path={schema}')}",
            "RIVER_CONFORMANCE_DRIVER": "postgres",
            "RIVER_CONFORMANCE_APPLICATION_NAME": self.application,
        }
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the process, and wait until it answers: from then on no test waits for its start.

        Raises:
            ConnectionError: it has ended.
            TimeoutError: it does not answer.
        """
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE,
        )
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(_READY_SECONDS):
            await self.call("handshake")

    async def call(self, method: str, **params: Any) -> Any:
        """One request and its result.

        Raises:
            PeerError: it was refused.
        """
        return await self.call_text(method, json.dumps(params))

    async def call_text(self, method: str, params: str) -> Any:
        """One request whose params are this text, and its result.

        Raises:
            PeerError: it was refused.
        """
        number = next(self._ids)
        response = await self.send(f'{{"jsonrpc":"2.0","id":{number},"method":{json.dumps(method)},"params":{params}}}', number)
        if "error" in response:
            raise PeerError(response["error"]["code"], response["error"]["message"])
        return response["result"]

    async def send(self, line: str, number: int) -> dict[str, Any]:
        """Send a line as it is; returns the whole response to the request of this number."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert self._reader is not None
        if self._reader.done():
            raise ConnectionError(f"{self.application} has ended")
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
        return await asyncio.wait_for(future, _ANSWER_SECONDS)

    async def close(self) -> int:
        """End its input and wait for its exit code."""
        process, reader = self._process, self._reader
        assert process is not None
        assert process.stdin is not None
        assert reader is not None
        if process.returncode is None:
            process.stdin.close()
        try:
            code = await asyncio.wait_for(process.wait(), _EXIT_SECONDS)
        except TimeoutError:
            process.kill()
            code = await process.wait()
        await reader
        return code

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        assert self._reader is not None
        self._process.kill()
        await self._process.wait()
        await self._reader

    @property
    def killed(self) -> bool:
        """Whether it has ended by a signal."""
        return self._process is not None and (self._process.returncode or 0) < 0

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            response = json.loads(line, parse_float=Decimal)
            future = self._waiting.pop(response["id"], None)
            if future is not None and not future.done():
                future.set_result(response)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.application} has ended"))
                future.exception()
