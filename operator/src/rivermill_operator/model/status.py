"""The ``status`` of a ``JobQueue`` as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rivermill_operator.model.observed import INVALID_SPEC

_MAX_MESSAGE = 1024
#: Reasons whose message says what is to be mended, and stays as it is until that is: another one is news.
_TOLD_BY_MESSAGE = frozenset(
    {
        INVALID_SPEC,
        "InvalidDatabaseURL",
        "AuthenticationFailed",
        "DatabaseNotFound",
        "SecretNotFound",
        "SecretKeyMissing",
    }
)
#: What a refused write is told after, and the writes that are refused for what the spec says. Others begin with a number or a
#: pod that is another one at each look.
REFUSED_TO = "The API server refused to "
TEMPLATE_WRITES = ("make Deployment", "apply Deployment")
_REFUSED_TEMPLATE = tuple(REFUSED_TO + write for write in TEMPLATE_WRITES)

#: ``Decision.won`` where replicas are set by hand.
MANUAL = "manual"

#: Type, status, reason, and the message where it is news.
Turn = tuple[str, str, str, str]


def turn(kind: str, status: str, reason: str, message: str) -> Turn:
    """What tells a condition from the same one before; most messages hold numbers that move all the time."""
    told = reason in _TOLD_BY_MESSAGE or (reason == "WriteRefused" and message.startswith(_REFUSED_TEMPLATE))
    return kind, status, reason, message[:_MAX_MESSAGE] if told else ""


@dataclass(frozen=True, slots=True)
class Condition:
    """One status condition; the writer fills in ``lastTransitionTime``. ``status`` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def turn(self) -> Turn:
        """What is told at once when it is another one."""
        return turn(self.type, self.status, self.reason, self.message)


@dataclass(frozen=True, slots=True)
class Bound:
    """What changed the outcome of a decision.

    Attributes:
        reason: of the condition ``ScalingLimited``, CamelCase.
        text: what it is, for a sentence.
    """

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class QueueInputs:
    """What a decision knew about one queue.

    Attributes:
        name: the queue.
        waiting: due jobs, a lower bound where ``bounded``.
        running: jobs that run, whoever runs them.
        oldest_seconds: wait of the oldest due job.
        due_soon: jobs that become due before a pod could start.
        arrivals_slow: jobs/s over the long window; arrivals_fast over the short one.
        job_seconds: what a job takes; an assumption unless ``measured``.
        paused: nothing is claimed.
        concurrency_limit: jobs that may run at once.
        rate_limit: jobs that may start in a second, on average.
    """

    name: str
    waiting: int
    bounded: bool
    running: int
    oldest_seconds: float
    due_soon: int
    arrivals_slow: float
    arrivals_fast: float
    job_seconds: float
    measured: bool
    paused: bool
    concurrency_limit: int | None
    rate_limit: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Why the fleet has the size it has.

    Attributes:
        desired_replicas: the pods wanted that accept jobs, after bounds; None while nothing could be decided.
        terms: name of each term of the rule → replicas it asks for.
        bounds: bounds that changed the outcome, in the order applied.
        pending: what holds a change back, e.g. ``scale-in to 3 allowed at 12:00:42 UTC``; None when nothing does.
        sentence: the whole decision in one plain sentence.
        won: the term that asked for the most.
        queues: what was known about each queue.
        pod_start_seconds: what a pod takes to become Ready.
        ready: pods that accept; starting: pods that will; draining: pods that finish their jobs.
        imagined: pods that are not there, and were taken to be Ready.
    """

    desired_replicas: int | None
    terms: Mapping[str, int] = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()
    pending: str | None = None
    sentence: str = ""
    won: str | None = None
    queues: tuple[QueueInputs, ...] = ()
    pod_start_seconds: float | None = None
    ready: int = 0
    starting: int = 0
    draining: int = 0
    imagined: int = 0


def merge_conditions(
    old: Sequence[Mapping[str, Any]], new: Sequence[Condition], generation: int, now: str
) -> list[dict[str, Any]]:
    """Conditions for ``status``; ``lastTransitionTime`` stays where the status did not change.

    Args:
        old: the conditions in the object's status.
        new: the conditions to report.
        generation: of the spec that was looked at.
        now: RFC 3339 time.
    """
    times = {c.get("type"): (c.get("status"), c.get("lastTransitionTime")) for c in old}
    merged = []
    for condition in new:
        status, since = times.get(condition.type, (None, None))
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:_MAX_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": since if since and status == condition.status else now,
            }
        )
    return merged
