"""A process that executes one job at a time, and the bytes that travel to and from it.

The process is spawned, so it imports the application anew and shares nothing with this one. It dies with its parent.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from rivermill.args import decode_args
from rivermill.errors import (
    JobCancel,
    JobFailure,
    JobInterruptedError,
    JobSnooze,
    RivermillError,
    WorkerCrashError,
)
from rivermill.job import Job, JobRow
from rivermill.outcome import error_text
from rivermill.resumable import end_steps
from rivermill.worker import Worker, refuse_unawaited

#: Time a process has to die of SIGTERM before it gets SIGKILL, and to end by itself when nothing is left to do.
_TERM_SECONDS = 2.0

logger = logging.getLogger("rivermill.executor")


@dataclass(frozen=True, slots=True)
class WorkerImage:
    """A pickled pair of worker and args type."""

    data: bytes


class WorkerProcessError(RivermillError):
    """What a worker raised in its process: its text here, its trace in ``remote_trace``."""

    def __init__(self, message: str, remote_trace: str) -> None:
        super().__init__(message)
        self.remote_trace = remote_trace


class Result(msgspec.Struct):
    """How it ended: ``outcome`` is ``done``, ``failed``, ``failure`` (expected), ``cancel``, ``snooze`` or ``exit``."""

    outcome: str
    text: str = ""
    trace: str = ""
    seconds: float = 0.0
    metadata: dict[str, bytes] = {}


def encode_request(kind: str, row: JobRow, args: str) -> bytes:
    """The bytes that tell a process what to execute; ``args`` is the row's stored JSON."""
    return pickle.dumps((kind, row, args))


def decode_result(data: bytes) -> tuple[Mapping[str, Any], BaseException | None]:
    """The metadata that the worker recorded, and what it raised."""
    result = msgspec.msgpack.decode(data, type=Result)
    metadata = {key: msgspec.Raw(value) for key, value in result.metadata.items()}
    error: BaseException | None = None
    match result.outcome:
        case "failed":
            error = WorkerProcessError(result.text, result.trace)
        case "failure":
            error = JobFailure(result.text)
        case "cancel":
            error = JobCancel(result.text)
        case "snooze":
            error = JobSnooze(timedelta(seconds=result.seconds))
        case "exit":
            error = SystemExit(result.text)
    return metadata, error


class ChildProcess:
    """The parent's end of one process. Its methods block, but ``kill``; call them in a thread."""

    def __init__(self, images: Mapping[str, WorkerImage]) -> None:
        self._images = images
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection[bytes, bytes] | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._killed = False

    @property
    def usable(self) -> bool:
        """Whether another job can be given to it."""
        return not self._killed and self._process is not None and self._process.is_alive()

    def call(self, request: bytes) -> bytes:
        """Execute a job; starts the process for the first.

        Raises:
            JobInterruptedError: it was killed.
            WorkerCrashError: it died by itself.
        """
        try:
            connection = self._start()
            connection.send_bytes(request)
            return connection.recv_bytes()
        except (EOFError, OSError) as error:
            process = self._process
            if process is not None:
                process.join(_TERM_SECONDS)
            if self._killed:
                raise JobInterruptedError("the worker process was killed") from error
            code = process.exitcode if process is not None else None
            raise WorkerCrashError(f"the worker process died: {_describe_exit(code)}", code) from error

    def kill(self) -> None:
        """End it now: SIGTERM, and SIGKILL when that does not help."""
        with self._lock:
            if self._killed:
                return
            self._killed = True
            process = self._process
            if process is not None and process.is_alive():
                process.terminate()
                self._timer = threading.Timer(_TERM_SECONDS, process.kill)
                self._timer.daemon = True
                self._timer.start()

    def end(self) -> None:
        """Close the connection, which ends an idle process, and wait for the end."""
        if self._connection is not None:
            self._connection.close()
        process = self._process
        if process is None:
            return
        process.join(_TERM_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer.join()
            self._killed = True
        process.close()
        self._process = None

    def _start(self) -> Connection[bytes, bytes]:
        with self._lock:
            if self._killed:
                raise OSError("killed before it began")
            if self._connection is None:
                context = multiprocessing.get_context("spawn")
                self._connection, theirs = context.Pipe()
                self._process = context.Process(
                    target=child_main, args=(theirs, dict(self._images)), name="rivermill-job", daemon=True
                )
                self._process.start()
                theirs.close()
            return self._connection


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown signal"
        return f"exit code {code} ({name})"
    return f"exit code {code}"


def child_main(connection: Connection[bytes, bytes], images: Mapping[str, WorkerImage]) -> None:
    """Execute jobs until the connection is closed."""
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C and a closed terminal are the parent's to handle
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="rivermill-parent", daemon=True).start()
    workers: dict[str, tuple[Worker[Any], type[Any]]] = {}
    while True:
        try:
            kind, row, args = pickle.loads(connection.recv_bytes())  # noqa: S301 - made by our own parent
        except EOFError:
            return
        if kind not in workers:
            workers[kind] = pickle.loads(images[kind].data)  # noqa: S301 - made by our own parent
        worker, args_type = workers[kind]
        result = _execute(worker, Job(decode_args(args_type, args), row))
        connection.send_bytes(msgspec.msgpack.encode(result))


def _execute(worker: Worker[Any], job: Job[Any]) -> Result:
    error: BaseException | None = None
    try:
        refuse_unawaited(worker.work(job))
    except BaseException as raised:  # noqa: BLE001 - whatever it is, its job records it
        error = raised
    result = _result_of(end_steps(job.state, job.row.metadata or {}, error))
    result.metadata = {key: msgspec.json.encode(value) for key, value in (job.state.updates or {}).items()}
    return result


def _result_of(error: BaseException | None) -> Result:
    match error:
        case None:
            return Result("done")
        case JobSnooze():
            return Result("snooze", seconds=error.delay.total_seconds())
        case JobCancel():
            return Result("cancel", _sendable(str(error.reason)))
        case JobFailure():
            return Result("failure", _sendable(error_text(error)))
        case SystemExit():
            return Result("exit", _sendable(error_text(error)))
    return Result("failed", _sendable(error_text(error)), _sendable("".join(traceback.format_exception(error))))


def _sendable(text: str) -> str:
    """Without half surrogate pairs, as the names of files can have them: these cannot be encoded."""
    return text.encode("utf-8", "replace").decode()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
