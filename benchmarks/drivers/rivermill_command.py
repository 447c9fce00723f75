"""Runs ``rivermill work`` as a pod does: a process of its own, probed and scraped over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from common import Figures, most_rss_mb

_HOST = "127.0.0.1"
_LOOK_SECONDS = 0.1
#: Of a probe or a scrape, a process's start and its end.
_SECONDS = 30.0
_COMPLETED = re.compile(r'^rivermill_jobs_total\{.*outcome="completed".*\} (\S+)$', re.MULTILINE)
_TOOK = "SELECT extract(epoch FROM max(finalized_at) - min(attempted_at))::float8 FROM river_job WHERE kind = 'benchmark'"


async def drain_by_command(options: argparse.Namespace, watcher: Any, unfinished: Callable[[], Awaitable[Any]]) -> Figures:
    """Work jobs that are there already in a process of the command, with so many slots and else its defaults.

    Returns:
        As ``Drain.figures`` does, but the time is that of the table, from the first attempt to the last end, the CPU time is
        that of the whole process, and bodies are counted by its own metrics.

    Raises:
        RuntimeError: the process has ended too early or not in order.
    """
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("rivermill")), "work", "rivermill_app:workers", env=_environment(options, port)
    )
    try:
        metrics = ""
        while await unfinished() or not metrics:
            await asyncio.sleep(_LOOK_SECONDS)
            if process.returncode is not None:
                raise RuntimeError(f"rivermill work ended with {process.returncode} before all jobs had")
            metrics = await asyncio.to_thread(_probe_and_scrape, port)
        ran = sum(float(count) for count in _COMPLETED.findall(await asyncio.to_thread(_probe_and_scrape, port)))
        rss = most_rss_mb(process.pid)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_SECONDS):
            code = await process.wait()
        if code != 0:
            raise RuntimeError(f"rivermill work ended with {code} after SIGTERM")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "per_second": options.jobs / await watcher.fetchval(_TOOK),
        "client_us": (used.ru_utime + used.ru_stime) / options.jobs * 1e6,
        "ran": round(ran),
        "rss_mb": rss,
    }


def _environment(options: argparse.Namespace, port: int) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": options.url,
        "RIVER_QUEUES": f"default:{options.slots}",
        "RIVER_HTTP_HOST": _HOST,
        "RIVER_HTTP_PORT": str(port),
        "RIVER_LOG_LEVEL": "warning",
        "PYTHONPATH": str(Path(__file__).parent),
    }


def _probe_and_scrape(port: int) -> str:
    """Its metrics, after both probes; empty while nothing listens."""
    try:
        for probe in ("livez", "readyz"):
            _get(port, probe)
        return _get(port, "metrics")
    except ConnectionRefusedError:
        return ""


def _get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{_HOST}:{port}/{path}", timeout=_SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        return error.read().decode()  # not ready yet
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port: int = free.getsockname()[1]
        return port
