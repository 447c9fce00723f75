"""Where workers run that do not run on the event loop: threads, and processes of their own."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rivermill.child import ChildProcess, WorkerImage, encode_request, error_of
from rivermill.errors import ConfigError
from rivermill.job import AttemptState, JobRow
from rivermill.worker import ExecutorKind, Registration, Workers

#: Threads are made only when no idle one is left, so this bounds what slots never reach.
_MAX_THREADS = 10_000
#: Idle processes that are kept for the next job.
_IDLE_PROCESSES = 4


class Places:
    """The threads and processes of one client, made when first needed.

    Args:
        workers: what may run in them.

    Raises:
        ConfigError: a worker is meant for a process and cannot be pickled.
    """

    def __init__(self, workers: Workers) -> None:
        self._threads = ThreadPoolExecutor(max_workers=_MAX_THREADS, thread_name_prefix="rivermill-job")
        self._images = {r.kind: _image(r) for r in workers if r.executor is ExecutorKind.PROCESS}
        self._idle: list[ChildProcess] = []
        self._working: dict[AttemptState, ChildProcess] = {}

    async def run_in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function in a thread, with this task's context variables.

        Raises:
            RuntimeError: it raised StopIteration, which no future takes, or GeneratorExit, by which coroutines are closed.
        """
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, _call, function, *args)

    async def run_in_process(self, state: AttemptState, kind: str, row: JobRow, args: str) -> None:
        """Run a job in a process; what it records is recorded here, even if it is killed.

        Args:
            state: the attempt.
            kind: the kind its worker is registered for.
            row: the job.
            args: its stored JSON.

        Raises:
            JobInterruptedError: ``kill`` ended it.
            WorkerCrashError: the process died by itself.
            Exception: what the worker raised, with its trace as ``remote_trace``.
        """
        child = self._idle.pop() if self._idle else ChildProcess(self._images)
        self._working[state] = child
        try:
            if state.interrupted:
                child.kill()
            result = await self.run_in_thread(child.call, encode_request(kind, row, args), state)
        finally:
            del self._working[state]
            await self._put_back(child)
        error = error_of(result)
        if error is not None:
            raise error

    def kill(self, state: AttemptState) -> None:
        """End the process that runs an attempt."""
        child = self._working.get(state)
        if child is not None:
            child.kill()

    async def close(self) -> None:
        """End the processes and release the threads; a thread that still runs a job is not waited for."""
        idle, self._idle = self._idle, []
        working = list(self._working.values())
        for child in working:
            child.kill()
        if idle or working:
            await asyncio.to_thread(_end_all, [*idle, *working])
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _put_back(self, child: ChildProcess) -> None:
        if child.usable and len(self._idle) < _IDLE_PROCESSES:
            self._idle.append(child)
        else:
            await self.run_in_thread(child.end)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"worker raised {type(error).__name__}") from error


def _image(registration: Registration) -> WorkerImage:
    try:
        return WorkerImage(pickle.dumps((registration.worker, registration.args_type)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"worker of kind {registration.kind!r} cannot be sent to a process: {error}; define it and its args at the top "
            "level of a module, and keep connections and locks out of its attributes"
        ) from error


def _end_all(children: list[ChildProcess]) -> None:
    for child in children:
        child.end()
