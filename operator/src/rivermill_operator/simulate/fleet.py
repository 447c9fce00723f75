"""The operator as a scaler: the very ``plan`` of the product, fed with what the simulation shows and carried out on it."""

from __future__ import annotations

from collections.abc import Callable

from rivermill_operator.model import names
from rivermill_operator.model.observed import (
    ClientView,
    DeploymentView,
    Observed,
    PodView,
    QueueDepth,
    QueueProbe,
    StoreView,
    Unknown,
)
from rivermill_operator.model.spec import DatabaseSpec, JobQueue, JobQueueSpec, QueueSpec, ScalingSpec, WorkerSpec
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.plan.looks import LOOK_SECONDS, until_look, until_tick
from rivermill_operator.plan.probes import probes
from rivermill_operator.simulate.cluster import Pod
from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.workload import NEVER, Workload

#: An insert brings no look forward that is due sooner than this; it would show little more, and the simulation take far longer.
_SOON_SECONDS = 2.0


class Fleet:
    """``Policy``: Rivermill's operator."""

    name = "rivermill"

    def __init__(self) -> None:
        self._memory = Memory()
        self._images = 0
        self._regular = NEVER
        self._asked = False
        self._asked_at = -NEVER
        self._turn = 0
        self._blind_since: float | None = None

    def begin(self, simulation: Simulation) -> None:
        """Look for the first time."""
        self._simulation = simulation
        self._job_queue = job_queue(simulation.workload, self._images)
        self._look_in(0.0)

    def job_due(self) -> None:
        """A notification of the database."""
        if self._simulation.observable():
            self._simulation.notify = False
            self._ask()

    def pods_changed(self) -> None:
        """The watch on pods."""
        self._ask()

    def rollout(self) -> None:
        """Another image."""
        self._images += 1
        self._job_queue = job_queue(self._simulation.workload, self._images)
        self._ask()

    def _ask(self) -> None:
        """A wake-up; the regular look is never late for it."""
        if not self._asked:
            self._asked = True
            now = self._simulation.now
            self._look_in(max(0.0, min(until_look(now, self._asked_at, LOOK_SECONDS), self._regular - now)))

    def _look_in(self, seconds: float) -> None:
        self._turn += 1
        self._simulation.call_in(seconds, self._look, self._turn)

    def _look(self, turn: int) -> None:
        if turn != self._turn:
            return  # an earlier look took its place
        now = self._simulation.now
        self._asked_at = now if self._asked else self._asked_at
        self._asked = False
        decided = plan(self._observe(), self._job_queue, self._memory)
        self._memory = decided.memory
        delay = until_tick(now, decided.wake_after)
        self._regular = now + delay
        self._look_in(delay)
        self._simulation.notify = decided.wake_after > _SOON_SECONDS
        self._apply(decided)

    # --- observing ---

    def _observe(self) -> Observed:
        simulation, cluster = self._simulation, self._simulation.cluster
        deployments = tuple(
            DeploymentView(
                name=f"d-{group.version}",
                template_hash=group.version,
                resource_version="1",
                replicas=group.replicas,
                live_seconds=simulation.now - group.created,
                applied_hash=group.applied_hash,
                verdict=group.verdict,
            )
            for group in cluster.sets.values()
        )
        pods = tuple(self._pod_view(pod) for pod in cluster.pods.values())
        return Observed(simulation.now, self._store(), deployments, pods)

    def _pod_view(self, pod: Pod) -> PodView:
        return PodView(
            name=str(pod.number),
            uid=str(pod.number),
            template_hash=pod.version,
            resource_version="1",
            age_seconds=self._simulation.now - pod.created,
            started=pod.ready_since != NEVER,
            ready=pod.ready,
            warm=pod.ready_since != NEVER,
            ready_after_seconds=pod.ready_since - pod.created if pod.ready else None,
            deleting=pod.terminating,
            deletion_cost=pod.cost,
        )

    def _store(self) -> StoreView | Unknown:
        simulation = self._simulation
        if not simulation.observable():
            self._blind_since = simulation.now if self._blind_since is None else self._blind_since
            return Unknown("DatabaseUnreachable", "The database cannot be reached.", simulation.now - self._blind_since)
        self._blind_since = None
        wanted = probes(self._job_queue.spec, self._memory.scaling)
        return StoreView(
            tuple(self._depth(number, probe) for number, probe in enumerate(wanted)),
            tuple(self._client(pod) for pod in simulation.cluster.pods.values() if pod.ready_since != NEVER),
        )

    def _depth(self, number: int, probe: QueueProbe) -> QueueDepth:
        simulation = self._simulation
        waiting, running = simulation.board.depth[number], simulation.running[number]
        oldest = simulation.board.oldest(number)
        return QueueDepth(
            name=probe.name,
            waiting=min(waiting, probe.depth_bound),
            bounded=waiting > probe.depth_bound,
            running=running,
            running_seconds=max(0.0, running * simulation.now - simulation.started[number]),
            oldest_seconds=None if oldest is None else simulation.now - oldest,
            due_soon=min(simulation.due_within(number, probe.horizon_seconds), probe.depth_bound + 1),
            arrived=simulation.arrived[number],
            finished=simulation.finished[number],
        )

    def _client(self, pod: Pod) -> ClientView:
        queues = self._simulation.workload.queues
        drained = pod.cordoned and not pod.running
        return ClientView(
            client_id=str(pod.number),
            pod_uid=str(pod.number),
            state="drained" if drained else "cordoned" if pod.cordoned else "accepting",
            wanted_state="cordoned" if pod.cordoned else "accepting",
            slots=self._simulation.workload.slots,
            running=len(pod.running),
            silent_seconds=1.0,
            running_by_queue={queue.name: queue.max_workers - room for queue, room in zip(queues, pod.room, strict=True)},
            ended=pod.ended,
            failed=pod.failed,
        )

    # --- applying ---

    def _apply(self, decided: Plan) -> None:
        cluster = self._simulation.cluster
        for apply in decided.apply:
            metadata = apply.deployment["metadata"]
            group = cluster.add_set(metadata["labels"][names.HASH_LABEL])
            group.applied_hash = metadata["annotations"][names.MANIFEST_ANNOTATION]
        for mark in decided.verdicts:
            cluster.sets[mark.deployment.removeprefix("d-")].verdict = mark.verdict
        self._each(decided.uncordon, cluster.uncordon)
        self._each(decided.cordon, cluster.cordon)
        for cost in decided.deletion_costs:
            cluster.pods[int(cost.pod)].cost = cost.cost or 0
        for scale in decided.scales:
            cluster.write_replicas(scale.deployment.removeprefix("d-"), scale.replicas)

    def _each(self, clients: tuple[str, ...], write: Callable[[Pod], None]) -> None:
        for client in clients:
            write(self._simulation.cluster.pods[int(client)])


def job_queue(workload: Workload, images: int) -> JobQueue:
    """The ``JobQueue`` that a user would write for a workload; ``images`` counts the images set before."""
    return JobQueue(
        namespace="simulation",
        name="simulation",
        uid="simulation",
        generation=1 + images,
        spec=JobQueueSpec(
            database=DatabaseSpec("database", "url"),
            queues=tuple(QueueSpec(q.name, q.max_workers, q.priority, q.target_wait_seconds) for q in workload.queues),
            worker=WorkerSpec(f"worker:{images + 1}", "jobs:workers", workload.slots),
            scaling=ScalingSpec(max_replicas=workload.max_replicas),
        ),
    )
