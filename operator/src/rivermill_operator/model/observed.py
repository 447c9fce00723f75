"""Everything one decision looks at, as values.

Times named ``now`` are seconds of a monotonic clock. Ages are seconds: of jobs and clients by the database's clock, of pods by
that monotonic clock since they were first seen, and by their timestamps until then. Only schedules look at the time of day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made.

    Attributes:
        seconds: of a monotonic clock; every window and age in the memory is measured with it.
        utc: the time of day, for schedules and for messages only.
    """

    seconds: float
    utc: datetime = _EPOCH


@dataclass(frozen=True, slots=True)
class QueueProbe:
    """What to look up about one queue.

    Attributes:
        name: the queue.
        depth_bound: count at most so many waiting jobs; beyond it the answer is ``maxReplicas`` anyway. A store that is slow
            counts fewer, and says that there are more.
        horizon_seconds: look ahead so far for jobs that become due.
    """

    name: str
    depth_bound: int = 10_000
    horizon_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The jobs of a queue that completed since the store was opened: sums over them, and the longest; they only grow.

    Attributes:
        jobs: how many were looked at (a sample of the newest where there are very many).
        seconds: sum of their last attempts' durations.
        seconds_squared: sum of the squares of these.
        longest_seconds: the longest of these.
    """

    jobs: int = 0
    seconds: float = 0.0
    seconds_squared: float = 0.0
    longest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue as the database shows it.

    Attributes:
        name: the queue.
        waiting: due jobs that no worker has claimed.
        bounded: ``waiting`` is a lower bound.
        running: jobs in state ``running``, whoever runs them.
        running_seconds: sum of their ages.
        oldest_seconds: wait of the oldest due job.
        due_soon: jobs that become due within the probe's horizon (scheduled or retryable).
        arrived: jobs inserted to be worked at once, counted since the store was opened; it only grows.
        finished: durations of completed jobs, summed since the store was opened.
        paused: nothing is claimed from it.
        concurrency_limit: jobs of it that may run at once over all clients (River Pro's ``global_limit``), if any.
        rate_limit: jobs of it that may start in a second over all clients, on average, if that is limited.
    """

    name: str
    waiting: int = 0
    bounded: bool = False
    running: int = 0
    running_seconds: float = 0.0
    oldest_seconds: float | None = None
    due_soon: int = 0
    arrived: int = 0
    finished: Finished = Finished()
    paused: bool = False
    concurrency_limit: int | None = None
    rate_limit: float | None = None


@dataclass(frozen=True, slots=True)
class ClientView:
    """One row of ``rivermill_client`` and how many rows of ``river_job`` it holds ``running``, altogether and by queue.

    ``ended`` and ``failed`` count the attempts that ended in this client since it started, and those that ended with an error.
    """

    client_id: str
    pod_uid: str | None
    state: str
    wanted_state: str
    slots: int
    running: int
    silent_seconds: float
    running_by_queue: Mapping[str, int] = field(default_factory=dict)
    ended: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ServerView:
    """What the whole server has to say.

    Attributes:
        xmin_age: transactions that the oldest snapshot is behind; an old one makes every read slow.
        connections_limit: connections that ordinary users may open.
        connections_used: connections that are open, the fleet's own included.
    """

    xmin_age: int = 0
    connections_limit: int | None = None
    connections_used: int = 0


@dataclass(frozen=True, slots=True)
class StoreView:
    """One observation of the database; ``degraded`` says which part of it is missing, so that nothing may be scaled in."""

    queues: tuple[QueueDepth, ...]
    clients: tuple[ClientView, ...] = ()
    server: ServerView = ServerView()
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the database could not be observed; ``since_seconds`` is how long ago that began.

    ``reason`` is a CamelCase condition reason (``SecretNotFound``, ``AuthenticationFailed``, ``SchemaMissing``, …),
    ``message`` a sentence without secrets.
    """

    reason: str
    message: str
    since_seconds: float = 0.0

    @property
    def untried(self) -> bool:
        """Whether nobody tried to read, so that nothing failed and there is nothing to try again."""
        return self.reason in (PAUSED.reason, INVALID_SPEC)


#: Instead of an observation while ``spec.mode`` is Paused.
PAUSED = Unknown("ModePaused", "spec.mode is Paused: the database is not read, and nothing is decided.")
#: Reason while the spec cannot be understood; the message names the field.
INVALID_SPEC = "InvalidSpec"


@dataclass(frozen=True, slots=True)
class PodView:
    """One worker pod.

    Attributes:
        started: its worker container runs.
        unplaced: why the scheduler has found no node for it, in its words; empty before it has looked.
        trouble: reason of a container that waits for more than its turn; ``cause``: why, as a sentence, or empty.
        ready_after_seconds: from its creation until it last became Ready, unless a container was restarted.
        unready_seconds: since it was last seen Ready, or first seen warm; None if it never was.
        warm: it has been Ready before, with the containers that it has now, or is about to be.
        protected: node autoscalers are told to leave it alone.
    """

    name: str
    uid: str
    template_hash: str
    resource_version: str
    age_seconds: float
    started: bool
    ready: bool
    deleting: bool = False
    deletion_cost: int = 0
    scheduled: bool = True
    unplaced: str = ""
    trouble: str | None = None
    cause: str = ""
    ready_after_seconds: float | None = None
    unready_seconds: float | None = None
    warm: bool = False
    protected: bool = True


#: A client that beats every 10 s has missed a beat by now; one that only lost its pod object is not silent.
SILENT_SECONDS = 12.0


class Verdict(StrEnum):
    """What became of a version's trial; kept as an annotation of its Deployment."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One version: a worker Deployment.

    Attributes:
        live_seconds: since its template last became the current one: when it was made, or returned to.
        applied_hash: annotation with the hash of the manifests last applied.
        trial: attempts that failed and that ended in the trial by which it was rejected, if that is known.
        failure: why Kubernetes could not make its pods.
    """

    name: str
    template_hash: str
    resource_version: str
    replicas: int
    live_seconds: float
    applied_hash: str | None = None
    verdict: Verdict = Verdict.PENDING
    trial: tuple[int, int] | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class StartingPod:
    """A pod that shall become Ready, for the first time or again.

    Attributes:
        uid: empty where its start tells nothing of how long starts take.
        age_seconds: since it was made, or anything was last heard of it; 0 while it is wanted but not made.
        scheduled: it has a node.
        warm: it has been Ready, with the containers that it has.
    """

    uid: str
    age_seconds: float
    scheduled: bool = True
    warm: bool = False


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet as the scaling decision sees it; pods that drain or are being deleted are no capacity.

    Attributes:
        replicas: of all Deployments together, as last written.
        ready: pods that are Ready and accept jobs.
        starting: pods that will.
        draining: pods that finish their jobs and take no more.
        beside: pods that a rollout has at work beyond the fleet's size.
        busy: queue → jobs of it that run in accepting pods.
        taken: pods that somebody else deletes while jobs run in them, as far as the fleet is smaller than it was wanted.
        leaving: queue → jobs that run in all such pods.
        started: seconds from creation to Ready of each pod that became Ready since the last decision.
        rolling_out: pods of an older template still accept jobs.
    """

    replicas: int = 0
    ready: int = 0
    starting: tuple[StartingPod, ...] = ()
    draining: int = 0
    beside: int = 0
    busy: Mapping[str, int] = field(default_factory=dict)
    taken: int = 0
    leaving: Mapping[str, int] = field(default_factory=dict)
    started: tuple[float, ...] = ()
    rolling_out: bool = False

    @property
    def accepting(self) -> int:
        """Pods that take jobs now or soon."""
        return self.ready + len(self.starting)

    @property
    def size(self) -> int:
        """The pods that a decision goes out from: what is taken from a fleet does not make one shrink that would not."""
        return self.accepting + self.taken


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the world.

    Attributes:
        now: seconds of a monotonic clock.
        store: the database.
        deployments: one for each version.
        pods: of all versions.
        conflict: names another writer of the same target, if there is one.
        utc: the time of day.
        unlooked: why nobody could look for another writer, when that was never possible so far.
        refused: what the API server would not have written after the last look.
        readable_seconds: since the database could be read again, or first; nobody can tell who was cut off from it before.
    """

    now: float
    store: StoreView | Unknown
    deployments: tuple[DeploymentView, ...] = ()
    pods: tuple[PodView, ...] = ()
    conflict: str | None = None
    utc: datetime = _EPOCH
    unlooked: str | None = None
    refused: str | None = None
    readable_seconds: float = math.inf

    @property
    def ready(self) -> int:
        """Pods that are Ready and stay."""
        return sum(1 for pod in self.pods if pod.ready and not pod.deleting)
