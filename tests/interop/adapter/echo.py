"""The workers of the contract: what a job's ``behavior`` asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from rivermill import Job, JobCancel, JobFailure, JobSnooze, Worker, Workers

_CURSOR = 7
Barriers = Callable[[str], asyncio.Event]


@dataclass
class Echo:
    kind: ClassVar[str] = "conformance_echo"
    behavior: str = ""
    duration_ms: int = 0
    message: str = ""


@dataclass
class EchoPeer(Echo):
    kind: ClassVar[str] = "conformance_echo_peer"


@dataclass
class EchoRenamed(Echo):
    kind: ClassVar[str] = "conformance_echo_renamed"
    kind_aliases: ClassVar[tuple[str, ...]] = ("conformance_echo",)


class Seen:
    """What the workers of one client have seen."""

    cancelled_at_start = 0


class _Behaviors:
    def __init__(self, barrier: Barriers, seen: Seen) -> None:
        self._barrier = barrier
        self._seen = seen

    async def work(self, job: Job[Any]) -> None:
        args: Echo = job.args
        match args.behavior:
            case "barrier_wait" | "barrier_output":
                await self._barrier(args.message).wait()
            case "sleep":
                await asyncio.sleep(args.duration_ms / 1000)
            case "cooperative_cancel":
                self._seen.cancelled_at_start += job.cancelled
                await asyncio.Event().wait()
        _end(job, args)


def _end(job: Job[Any], args: Echo) -> None:
    """What a behavior comes to once it has waited."""
    match args.behavior:
        case "" | "barrier_wait" | "sleep":
            pass
        case "barrier_output":
            job.record_output({"race": "worker"})
        case "output":
            job.record_output({"message": args.message})
        case "cancel":
            raise JobCancel("cancelled by conformance worker")
        case "snooze_once":
            if "snoozes" not in (job.row.metadata or {}):
                raise JobSnooze(timedelta(milliseconds=max(args.duration_ms, 1)))
        case "resumable_cursor":
            _resume(job)
        case "error":
            raise JobFailure("conformance retryable error")
        case "error_once" | "panic":  # beside the contract
            _fail_beside(job, args)
        case _:
            raise JobFailure(f"unknown behavior {args.behavior!r}")


def _fail_beside(job: Job[Any], args: Echo) -> None:
    if args.behavior == "panic":
        raise RuntimeError("conformance panic")
    if job.attempt == 1:
        raise JobFailure("conformance first attempt fails")


def _resume(job: Job[Any]) -> None:
    """Fails in its second step with a cursor set, then in its third, and completes at the third attempt."""
    with job.step("first") as step:
        if step.needed:
            job.set_metadata("first_attempt", job.attempt)
    with job.step("second") as step:
        if step.needed and job.attempt == 1:
            step.set_cursor(_CURSOR)
            raise JobFailure("the second step fails with its cursor set")
        if step.needed:
            if step.cursor != _CURSOR:
                raise JobFailure(f"the cursor is {step.cursor}, not {_CURSOR}")
            job.set_metadata("cursor_observed", step.cursor)
    with job.step("third") as step:
        if step.needed and job.attempt == 2:
            raise JobFailure("the third step fails once")


class EchoWorker(_Behaviors, Worker[Echo]):
    """Works ``conformance_echo``."""


class EchoPeerWorker(_Behaviors, Worker[EchoPeer]):
    """Works ``conformance_echo_peer``."""


class EchoRenamedWorker(_Behaviors, Worker[EchoRenamed]):
    """Works ``conformance_echo_renamed``, and its old name."""


_KINDS: dict[str, Callable[[Barriers, Seen], Worker[Any]]] = {
    Echo.kind: EchoWorker,
    EchoPeer.kind: EchoPeerWorker,
    EchoRenamed.kind: EchoRenamedWorker,
}


def make_workers(kinds: list[str], barrier: Barriers, seen: Seen) -> Workers:
    """Workers of these kinds.

    Raises:
        KeyError: one is not a kind of the contract.
    """
    workers = Workers()
    for kind in kinds:
        workers.add(_KINDS[kind](barrier, seen))
    return workers
