"""What an attempt logs, kept with its job. Mirrors River's ``riverlog``, whose entries River UI shows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from rivermill.errors import ConfigError
from rivermill.extensions import Middleware
from rivermill.job import Job

_KEY = "river:log"
_MIB = 1024 * 1024
_MOST_BYTES = 64 * _MIB
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

own_logger = logging.getLogger("rivermill.joblog")


class JobLog(Middleware):
    """Middleware that stores what each attempt logs, as an element ``{"attempt": 1, "log": "…"}`` of ``river:log``.

    Mirrors ``riverlog.Middleware``, and collects records instead of giving a logger.

    It collects the records that reach ``logger`` from the worker, and from what it awaits or calls, on the loop as well as in a
    thread; other loggers and handlers see them as before. What a worker logs in a process of its own is not collected. Use it
    for a client (``middleware=[JobLog()]``) or for a worker.

    Args:
        logger: the logger to listen at; None is the root, which records reach by default.
        level: the least level that is kept; what the loggers themselves drop does not come here.
        formatter: makes a record's text; None gives time, level, name and message.
        max_bytes: of one attempt; what comes after that is dropped.
        max_total_bytes: of all attempts together, at most 64 MiB; the oldest go first, the newest stays whatever its size.

    Raises:
        ConfigError: a number of bytes is not above 0.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        level: int = logging.INFO,
        formatter: logging.Formatter | None = None,
        max_bytes: int = 2 * _MIB,
        max_total_bytes: int = 8 * _MIB,
    ) -> None:
        for name, number in (("max_bytes", max_bytes), ("max_total_bytes", max_total_bytes)):
            if number <= 0:
                raise ConfigError(f"{name} {number}: use a number of bytes above 0")
        self._logger = logger or logging.getLogger()
        self._handler = _Collector(level)
        self._handler.setFormatter(formatter or logging.Formatter(_FORMAT))
        self._max_bytes = max_bytes
        self._max_total_bytes = min(max_total_bytes, _MOST_BYTES)

    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        """Run an attempt and collect meanwhile."""
        if self._handler not in self._logger.handlers:  # also after a configuration that took all handlers away
            self._logger.addHandler(self._handler)
        page = _Page(self._max_bytes)
        token = self._handler.page.set(page)
        try:
            await inner()
        finally:
            self._handler.page.reset(token)
            if page.written:
                self._store(job, page)

    def _store(self, job: Job[Any], page: _Page) -> None:
        if page.dropped:
            extra = {"job_id": job.id, "dropped_bytes": page.dropped, "max_bytes": self._max_bytes}
            own_logger.warning("a part of the attempt's log is not kept", extra=extra)
        try:
            before = earlier_entries(job.row.encoded_metadata)
        except ValueError as error:
            own_logger.warning("the attempt's log is not kept", extra={"job_id": job.id, "error": str(error)})
            return
        entry = msgspec.json.encode({"attempt": job.attempt, "log": page.text()})
        kept = newest_entries(before, entry, self._max_total_bytes)
        if len(kept) <= len(before):
            extra = {"job_id": job.id, "dropped_entries": len(before) + 1 - len(kept)}
            own_logger.warning("logs of earlier attempts are dropped", extra=extra)
        job.state.update(_KEY, msgspec.Raw(b"[" + b",".join(kept) + b"]"))


class _Page:
    """The text of one attempt, up to so many bytes."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._parts: list[bytes] = []
        self.dropped = 0

    @property
    def written(self) -> bool:
        return bool(self._parts)

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        kept = data[: self._left]
        self.dropped += len(data) - len(kept)
        self._left -= len(kept)
        if kept:
            self._parts.append(kept)

    def text(self) -> str:
        """A character that was cut in two is dropped, and NUL, which jsonb cannot hold, replaced."""
        return b"".join(self._parts).decode("utf-8", "ignore").replace("\0", "\ufffd")


class _Collector(logging.Handler):
    """Writes each record to the page of the attempt that it comes from."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.page: ContextVar[_Page | None] = ContextVar("rivermill_joblog_page", default=None)

    def emit(self, record: logging.LogRecord) -> None:
        page = self.page.get()
        if page is not None:
            try:
                page.write(self.format(record) + "\n")
            except Exception:  # noqa: BLE001 - what a handler does with its own errors
                self.handleError(record)


def earlier_entries(metadata: str) -> list[bytes]:
    """The entries that a job's metadata have, each as it is stored.

    Raises:
        ValueError: the metadata or its logs have another form.
    """
    try:
        found: Mapping[str, msgspec.Raw] = msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])
        return [bytes(entry) for entry in msgspec.json.decode(found.get(_KEY, b"[]"), type=list[msgspec.Raw])]
    except msgspec.MsgspecError as error:
        raise ValueError(f"metadata {_KEY!r} is not a list: {error}") from error


def newest_entries(before: list[bytes], entry: bytes, most: int) -> list[bytes]:
    """The new entry behind as many of the newest before it as fit into so many bytes of a JSON array."""
    kept, left = [entry], most - len(entry) - len("[]")
    for earlier in reversed(before):
        left -= len(earlier) + len(",")
        if left < 0:
            break
        kept.append(earlier)
    return kept[::-1]
