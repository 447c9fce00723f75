"""A process that executes one job at a time, and the bytes that travel to and from it.

The process is spawned, so it imports the application anew and shares nothing with this one. It leads a session of its own, and
signals do nothing to it: whoever stops the parent by its process group or service must not fail the jobs that the parent still
waits for. The parent kills it with all that it has started, and so does the process itself when its parent is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.util  # before our own exit handler is registered, which then runs before the one of this
import os
import pickle
import signal
import threading
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import resource_tracker
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
from rivermill.forks import ignore_signals, signals_held
from rivermill.job import AttemptState, Job, JobRow
from rivermill.outcome import error_says, error_text, meant_by
from rivermill.resumable import Steps
from rivermill.worker import Worker, refuse_unawaited

#: Time a process has to end by itself when nothing is left to do.
_END_SECONDS = 2.0


_RECORDED, _PROGRESS = "recorded", "progress"


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
    """How it ended: ``outcome`` is ``done``, ``failed``, ``failure`` (expected), ``cancel``, ``snooze`` or ``exit``.

    Two are no ends, and count even if the process is killed: ``recorded``, that ``metadata`` has been, and ``progress``, that
    ``metadata`` is what its steps would record now.
    """

    outcome: str
    text: str = ""
    trace: str = ""
    seconds: float = 0.0
    metadata: dict[str, bytes] = {}


def encode_request(kind: str, row: JobRow, args: str) -> bytes:
    """The bytes that tell a process what to execute; ``args`` is the row's stored JSON."""
    return pickle.dumps((kind, row, args))


def error_of(result: Result) -> BaseException | None:
    """What the worker raised."""
    match result.outcome:
        case "failed":
            return WorkerProcessError(result.text, result.trace)
        case "failure":
            return JobFailure(result.text)
        case "cancel":
            return JobCancel(result.text)
        case "snooze":
            return JobSnooze(timedelta(seconds=result.seconds))
        case "exit":
            return SystemExit(result.text)
    return None


class ChildProcess:
    """The parent's end of one process. Its methods block, but ``kill``; call them in a thread."""

    def __init__(self, images: Mapping[str, WorkerImage]) -> None:
        self._images = images
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection[bytes, bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False
        self.owner = os.getpid()

    @property
    def usable(self) -> bool:
        """Whether another job can be given to it."""
        return not self._killed and self._process is not None and self._process.is_alive()

    def call(self, request: bytes, state: AttemptState) -> Result:
        """Execute a job; starts the process for the first.

        Args:
            request: the job.
            state: the attempt's, which gets as JSON what the worker records, as soon as it has.

        Raises:
            JobInterruptedError: it was killed.
            WorkerCrashError: it died by itself.
        """
        try:
            connection = self._start()
            connection.send_bytes(request)
            while True:
                result = msgspec.msgpack.decode(connection.recv_bytes(), type=Result)
                metadata = {key: msgspec.Raw(value) for key, value in result.metadata.items()}
                if result.outcome == _PROGRESS:
                    state.progress = metadata
                elif result.outcome != _RECORDED:
                    return result
                else:
                    for key, value in metadata.items():
                        state.update(key, value)
        except (EOFError, OSError) as error:
            code = self._bury()
            if self._killed:
                raise JobInterruptedError("the worker process was killed") from error
            raise WorkerCrashError(f"the worker process died: {_describe_exit(code)}", code) from error

    def kill(self) -> None:
        """End it now, and what it has started."""
        with self._lock:
            if self._killed:
                return
            self._killed = True
            if self._process is not None:
                _kill_session(self._process)

    def end(self) -> None:
        """Close the connection, which ends an idle process, and wait for the end."""
        if self._connection is not None:
            self._connection.close()
        process = self._process
        if process is None:
            return
        process.join(_END_SECONDS)
        if process.is_alive():
            _kill_session(process)
            process.join()
        with self._lock:
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
                process = context.Process(target=child_main, args=(theirs, dict(self._images)), name="rivermill-job")
                resource_tracker.ensure_running()  # its own start lets signals through
                with signals_held():
                    process.start()
                self._process = process
                theirs.close()
                _started.add(self)
            return self._connection

    def _bury(self) -> int | None:
        """Kill what a process that has died has left, while its number cannot be another's yet; its exit code."""
        if self._process is None:
            return None
        wait([self._process.sentinel], _END_SECONDS)
        _kill_session(self._process)
        self._process.join(_END_SECONDS)
        return self._process.exitcode


_started: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


@atexit.register
def _kill_all() -> None:
    """Kill what nobody has ended: multiprocessing would wait for it."""
    for child in list(_started):
        if child.owner == os.getpid() and child.usable:
            child.kill()


def _kill_session(process: multiprocessing.process.BaseProcess) -> None:
    """Kill a process and the others of its session that have not left its process group."""
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has not come so far yet, or nothing is left of it
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


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
    os.setsid()
    ignore_signals()
    os.register_at_fork(after_in_child=connection.close)  # else it would stay open when this process has died
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
        state = _Recorded(connection)
        result = _execute(worker, Job(decode_args(args_type, args), row, state))
        state.end(result)


class _Recorded(AttemptState):
    """Tells the parent at once what is recorded, until the attempt has ended."""

    connection: Connection[bytes, bytes] | None
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def update(self, key: str, value: Any) -> None:
        """Record one key of metadata."""
        self._send(Result(_RECORDED, metadata={key: msgspec.json.encode(value)}))

    def begin_steps(self, metadata: Mapping[str, Any]) -> Steps:
        """Steps whose progress the parent knows at any time."""
        return Steps(metadata, self._tell_progress)

    def _tell_progress(self) -> None:
        if self.steps is not None:
            progress = self.steps.progress()
            self._send(Result(_PROGRESS, metadata={key: msgspec.json.encode(value) for key, value in progress.items()}))

    def end(self, result: Result) -> None:
        """Tell how the attempt has ended; what a thread that it left behind records is nobody's."""
        self._send(result, last=True)

    def _send(self, result: Result, *, last: bool = False) -> None:
        with self.lock:
            if self.connection is not None:
                self.connection.send_bytes(msgspec.msgpack.encode(result))
            if last:
                self.connection = None


def _execute(worker: Worker[Any], job: Job[Any]) -> Result:
    error: BaseException | None = None
    try:
        refuse_unawaited(worker.work(job))
    except BaseException as raised:  # noqa: BLE001 - whatever it is, its job records it
        error = raised
    steps = job.state.steps or Steps(job.row.metadata or {})
    error = steps.end(error)[0]  # the parent has their progress
    return _result_of(error if error is None else meant_by(error))


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
            return Result("exit", _sendable(error_says(error)))
    return Result("failed", _sendable(error_text(error)), _sendable("".join(traceback.format_exception(error))))


def _sendable(text: str) -> str:
    """Without half surrogate pairs, as the names of files can have them: these cannot be encoded."""
    return text.encode("utf-8", "replace").decode()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)
