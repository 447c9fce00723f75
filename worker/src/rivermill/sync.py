"""A client for synchronous programs, such as Django and Flask: it inserts and manages, and works nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from rivermill.client import Client
from rivermill.config_values import check_duration
from rivermill.errors import ConfigError, NotStartedError, RivermillError
from rivermill.insert import JobInsertResult
from rivermill.insert_rows import InsertOpts, InsertParams, as_params
from rivermill.job import Job, JobRow
from rivermill.joblist import JobFilter, JobListParams, JobListResult
from rivermill.limits import Concurrency, RateLimit
from rivermill.queues import Queue
from rivermill.transactions import AdaptedConnection, Transaction, sync_connection_of
from rivermill.unique import Unique
from rivermill.worker import Workers

ResultT = TypeVar("ResultT")
Call = Callable[[], Coroutine[Any, Any, ResultT]]


class BlockingCallError(RivermillError, RuntimeError):
    """A synchronous client was called where an event loop runs, which the call would have blocked."""


class _LoopThread:
    """An event loop on a thread of its own, started when it is first needed (so not before a server forks)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, call: Call[ResultT], timeout: timedelta) -> ResultT:
        """Run a coroutine there and wait for it.

        Raises:
            BlockingCallError: an event loop runs in this thread.
            NotStartedError: the loop has been closed, or belongs to the process that this one was forked from.
            TimeoutError: it took longer; it has been cancelled.
        """
        _refuse_loop()
        with self._lock:
            if self._closed:
                raise NotStartedError("this SyncClient has been closed: make a new one")
            if self._left_behind():
                raise NotStartedError(
                    "this SyncClient was called before its process was forked: make a new one in each process"
                )
            future = asyncio.run_coroutine_threadsafe(_bounded(call, timeout), self._started())
        try:
            return future.result()
        except BaseException:  # KeyboardInterrupt too: nobody waits for it any more
            future.cancel()
            raise

    def close(self, last: Call[None], timeout: timedelta) -> None:
        """Run a last coroutine behind all calls made so far, and end the thread; the second time nothing happens."""
        _refuse_loop()
        with self._lock:
            if self._closed or self._loop is None or self._thread is None or self._left_behind():
                self._closed = True
                return
            self._closed = True
            future = asyncio.run_coroutine_threadsafe(_bounded(last, timeout), self._loop)
        try:
            future.result()
        finally:
            asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _left_behind(self) -> bool:
        """Whether the process was forked since: its thread, and the use of its connection, stay with the parent."""
        return self._thread is not None and not self._thread.is_alive()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon, so that a program that never closes its client can end.
            self._thread = threading.Thread(target=self._loop.run_forever, name="rivermill-sync", daemon=True)
            self._thread.start()
        return self._loop


def _refuse_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError("an event loop runs in this thread and SyncClient would block it: use Client there")


def _evaluated(jobs: Iterable[Any]) -> list[InsertParams]:
    """The jobs, in the caller's thread: a generator may ask what belongs to that, such as the session of an ORM."""
    _refuse_loop()
    return as_params(jobs)


async def _bounded(call: Call[ResultT], timeout: timedelta) -> ResultT:
    try:
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            return await call()
    except TimeoutError as error:
        if limit.expired():
            text = f"no answer within {timeout.total_seconds():g} s; what was asked may have been done all the same"
            raise TimeoutError(text) from error
        raise


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class SyncClient:
    """What ``Client`` offers for inserting and managing, for programs without an event loop.

    Any number of threads may use one client: it has one connection, opened at the first call, which they use in turn. With
    ``tx=``, a psycopg ``Connection`` or a ``Connection`` or ``Session`` of SQLAlchemy on psycopg, a call happens in the
    caller's transaction. Each method does and raises what the one of the same name of ``Client`` does, and also raises

    - ``TimeoutError``: there was no answer in time; what was asked may have been done all the same,
    - ``BlockingCallError``: an event loop runs in the calling thread,
    - ``NotStartedError``: the client has been closed, or was called before the process was forked.

    Args:
        dsn: a ``postgresql://`` URL; None takes ``DATABASE_URL``.
        workers: kinds that may be inserted; None allows any.
        timeout: the longest time of one call, connecting and waiting for the connection included.
        settings: any other field of ``rivermill.config.Settings`` that concerns inserting, such as ``schema``.

    Raises:
        ConfigError: a setting is missing or wrong.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        workers: Workers | None = None,
        timeout: timedelta = timedelta(seconds=30),
        **settings: Any,
    ) -> None:
        if timeout is None:
            raise ConfigError("timeout None: use a timedelta above zero, such as timedelta(seconds=30)")
        check_duration("timeout", timeout)
        self._client = self._made(dsn, workers, settings)
        self._timeout = timeout
        self._thread = _LoopThread()

    def _made(self, dsn: str | None, workers: Workers | None, settings: Mapping[str, Any]) -> Client:
        """The client that does everything."""
        return Client(dsn, workers=workers, **settings)

    def close(self) -> None:
        """Wait for the calls of other threads, then close the connection; closing twice is no error."""
        self._thread.close(self._client.stop, self._timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(
        self, call: Callable[[AdaptedConnection | None], Coroutine[Any, Any, ResultT]], tx: Transaction | None = None
    ) -> ResultT:
        on = sync_connection_of(tx)
        return self._thread.run(lambda: call(on), self._timeout)

    def insert(
        self, args: Any, opts: InsertOpts | None = None, *, unique: Unique | None = None, tx: Transaction | None = None
    ) -> JobInsertResult:
        """Insert one job."""
        return self._run(lambda on: self._client.insert(args, opts, unique=unique, tx=on), tx)

    def insert_many(self, jobs: Iterable[Any], *, tx: Transaction | None = None) -> list[JobInsertResult]:
        """Insert many jobs in one statement."""
        params = _evaluated(jobs)
        return self._run(lambda on: self._client.insert_many(params, tx=on), tx)

    def insert_many_fast(self, jobs: Iterable[Any], *, tx: Transaction | None = None) -> int:
        """Insert many jobs by COPY; returns how many."""
        params = _evaluated(jobs)
        return self._run(lambda on: self._client.insert_many_fast(params, tx=on), tx)

    def enqueue(self, args: Any) -> JobRow:
        """Insert a job that is due at once."""
        return self._run(lambda _: self._client.enqueue(args))

    def enqueue_with_priority(self, args: Any, priority: int) -> JobRow:
        """Insert a job with a priority, 1 (most urgent) to 4."""
        return self._run(lambda _: self._client.enqueue_with_priority(args, priority))

    def enqueue_scheduled(self, args: Any, scheduled_at: datetime) -> JobRow:
        """Insert a job that is due at an aware time."""
        return self._run(lambda _: self._client.enqueue_scheduled(args, scheduled_at))

    def cancel(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Cancel a job: at once if it is not running, else by asking the client that runs it."""
        return self._run(lambda on: self._client.cancel(job_id, tx=on), tx)

    def job_get(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """One job."""
        return self._run(lambda on: self._client.job_get(job_id, tx=on), tx)

    def job_list(self, params: JobListParams | None = None, *, tx: Transaction | None = None) -> JobListResult:
        """One page of jobs."""
        return self._run(lambda on: self._client.job_list(params, tx=on), tx)

    def job_complete(self, job: Job[Any], *, tx: Transaction) -> JobRow:
        """Complete the job that is being worked in the caller's transaction, for workers in threads and processes."""
        return self._run(lambda on: self._client.job_complete(job, tx=on), tx)

    def job_set_step(self, job: Job[Any], *, cursor: Any = None, tx: Transaction) -> JobRow:
        """Record the progress of the step that is being worked in the caller's transaction."""
        return self._run(lambda on: self._client.job_set_step(job, cursor=cursor, tx=on), tx)

    def job_retry(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Make a job that is not running due now."""
        return self._run(lambda on: self._client.job_retry(job_id, tx=on), tx)

    def job_update(self, job_id: int, *, output: Any, tx: Transaction | None = None) -> JobRow:
        """Set a job's output."""
        return self._run(lambda on: self._client.job_update(job_id, output=output, tx=on), tx)

    def job_delete(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Delete a job that is not running; returns what it was."""
        return self._run(lambda on: self._client.job_delete(job_id, tx=on), tx)

    def job_delete_many(
        self,
        filters: JobFilter | None = None,
        *,
        limit: int = 100,
        everything: bool = False,
        tx: Transaction | None = None,
    ) -> list[JobRow]:
        """Delete up to ``limit`` jobs that match and are not running; returns what they were."""
        return self._run(lambda on: self._client.job_delete_many(filters, limit=limit, everything=everything, tx=on), tx)

    def queue_get(self, name: str, *, tx: Transaction | None = None) -> Queue:
        """One queue."""
        return self._run(lambda on: self._client.queue_get(name, tx=on), tx)

    def queue_list(self, *, limit: int = 100, after: str = "", tx: Transaction | None = None) -> list[Queue]:
        """Queues by name, up to ``limit`` after the name ``after``."""
        return self._run(lambda on: self._client.queue_list(limit=limit, after=after, tx=on), tx)

    def queue_update(self, name: str, *, metadata: Mapping[str, Any] | str, tx: Transaction | None = None) -> Queue:
        """Replace a queue's metadata."""
        return self._run(lambda on: self._client.queue_update(name, metadata=metadata, tx=on), tx)

    def queue_limit(self, name: str, concurrency: Concurrency | None, *, tx: Transaction | None = None) -> Queue:
        """Limit how many jobs of a queue run at once, or with None end its limits."""
        return self._run(lambda on: self._client.queue_limit(name, concurrency, tx=on), tx)

    def queue_rate_limit(self, name: str, rate: RateLimit | None, *, tx: Transaction | None = None) -> Queue:
        """Limit how many jobs of a queue start in each period, or with None end that limit."""
        return self._run(lambda on: self._client.queue_rate_limit(name, rate, tx=on), tx)

    def queue_pause(self, name: str, *, tx: Transaction | None = None) -> None:
        """Stop every client's claims from a queue (``*``: all)."""
        self._run(lambda on: self._client.queue_pause(name, tx=on), tx)

    def queue_resume(self, name: str, *, tx: Transaction | None = None) -> None:
        """Let clients claim again from a queue (``*``: all)."""
        self._run(lambda on: self._client.queue_resume(name, tx=on), tx)

    def request_resign(self, *, tx: Transaction | None = None) -> None:
        """Ask the present leader to give up its term."""
        self._run(lambda on: self._client.request_resign(tx=on), tx)
