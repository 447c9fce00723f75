"""The event simulation: jobs become due, pods claim them at once, run them, and a scaler decides how many pods there are."""

from __future__ import annotations

import heapq
import math
import random
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, Protocol

from rivermill_operator.model.observed import Finished
from rivermill_operator.simulate.board import Board
from rivermill_operator.simulate.cluster import Cluster, Pod
from rivermill_operator.simulate.sample import Sample
from rivermill_operator.simulate.workload import PodStart, Workload, inside

_RETRY_JITTER = 0.1
_SAMPLES = 400


class Policy(Protocol):
    """A scaler under test."""

    @property
    def name(self) -> str:
        """As the tables print it."""

    def begin(self, simulation: Simulation) -> None:
        """Set the first timers."""

    def job_due(self) -> None:
        """A job became due; only called while ``Simulation.notify`` is set."""

    def pods_changed(self) -> None:
        """What a watch on pods would see."""

    def rollout(self) -> None:
        """A new pod template has been set."""


class Simulation:
    """One workload under one scaler.

    Args:
        workload: what is worked.
        policy: the scaler.
        seed: of everything that is drawn here (pod starts, which pod claims, retry jitter).
    """

    def __init__(self, workload: Workload, policy: Policy, seed: int) -> None:
        queues = workload.queues
        self.workload = workload
        self.policy = policy
        self.now = 0.0
        self.notify = False
        self.board = Board(queues, workload.trace)
        self.cluster = Cluster(self, workload.pod_start, workload.grace_seconds)
        self.running = [0] * len(queues)
        self.waits = [array("d") for _ in queues]
        #: Sum of the moments at which the running jobs started, by queue.
        self.started = [0.0] * len(queues)
        self.finished = [Finished() for _ in queues]
        self.completed = 0
        self.failed = 0
        self.interrupted = 0
        self.lost_seconds = 0.0
        #: Jobs inserted to be worked at once, by queue.
        self.arrived = [0] * len(queues)
        #: Due times of rows that wait for a later time, in order: ``(due, queue)``.
        self.later: list[tuple[float, int]] = []
        self.samples: list[Sample] = []
        self._single = len(queues) == 1 and queues[0].max_workers >= workload.slots
        self._open: list[Pod] = []
        self._timers: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._endings: list[tuple[float, int, Pod]] = []
        self._attempts: dict[int, int] = {}
        self._resumed: set[int] = set()
        self._rng = random.Random(seed)
        self._random = self._rng.random

    # --- the clock ---

    def call_in(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Call after ``seconds``."""
        self._order += 1
        heapq.heappush(self._timers, (self.now + seconds, self._order, call, args))

    def run(self) -> None:
        """Run to the horizon."""
        due, total, horizon = self.workload.trace.due, len(self.workload.trace), self.workload.horizon
        timers, endings, endless = self._timers, self._endings, math.inf
        self._prepare()
        index = 0
        while True:
            arrival = due[index] if index < total else endless
            ending = endings[0][0] if endings else endless
            timer = timers[0][0] if timers else endless
            if min(arrival, ending, timer) > horizon:
                break
            if arrival <= ending and arrival <= timer:
                self.now = arrival
                self._become_due(index)
                index += 1
            elif ending <= timer:
                self.now, job, pod = heapq.heappop(endings)
                self._end(job, pod)
            else:
                self.now, _, call, args = heapq.heappop(timers)
                call(*args)
        self.now = horizon
        self.cluster.account()

    def _prepare(self) -> None:
        trace = self.workload.trace
        for known, due, queue in zip(trace.known, trace.due, trace.queue, strict=True):
            if known < due:
                self.call_in(max(0.0, known), self._insert_later, due, queue)
        if self.workload.rollout_at is not None:
            self.call_in(self.workload.rollout_at, self.policy.rollout)
        self._sample(self.workload.horizon / _SAMPLES)
        self.policy.begin(self)

    def _sample(self, every: float) -> None:
        pods = self.cluster.pods.values()
        ready = sum(1 for pod in pods if pod.ready and not pod.terminating)
        self.samples.append(Sample(self.now, self.board.waiting, sum(self.running), ready, len(pods), self._strain()))
        self.call_in(every, self._sample, every)

    def _strain(self) -> float:
        goals = [queue.target_wait_seconds for queue in self.workload.queues]
        oldest = [self.board.oldest(number) for number in range(len(goals))]
        waits = [(self.now - due) / goal for due, goal in zip(oldest, goals, strict=True) if due is not None]
        return max(waits, default=0.0)

    # --- jobs ---

    def _insert_later(self, due: float, queue: int) -> None:
        insort(self.later, (due, queue))

    def _forget_later(self, due: float, queue: int) -> None:
        place = bisect_left(self.later, (due, queue))
        if place < len(self.later) and self.later[place] == (due, queue):
            del self.later[place]

    def due_within(self, queue: int, seconds: float) -> int:
        """Scheduled and retryable rows of a queue that become due within ``seconds``."""
        until = bisect_right(self.later, (self.now + seconds, len(self.running)))
        return sum(1 for _, of in self.later[:until] if of == queue)

    def _become_due(self, job: int) -> None:
        trace = self.workload.trace
        if trace.known[job] < trace.due[job]:
            self._forget_later(trace.due[job], trace.queue[job])
        else:
            self.arrived[trace.queue[job]] += 1
        self._offer(job)

    def _offer(self, job: int) -> None:
        pod = self._free_pod(self.workload.trace.queue[job])
        if pod is None:
            self.board.put(job)
        else:
            self._start(job, pod)
        if self.notify:
            self.policy.job_due()

    def _free_pod(self, queue: int) -> Pod | None:
        free = self._open
        if not free:
            return None
        pod = free[int(self._random() * len(free))]
        if self._single or pod.room[queue] > 0:
            return pod
        return next((pod for pod in free if pod.room[queue] > 0), None)

    def _start(self, job: int, pod: Pod) -> None:
        """Run a job in a pod that has a free slot for its queue."""
        queue, now = self.workload.trace.queue[job], self.now
        if job in self._resumed:
            self._resumed.discard(job)
        else:
            self.waits[queue].append(now - self.board.due[job])
        pod.running[job] = now
        pod.free -= 1
        pod.room[queue] -= 1
        if pod.free == 0 and pod.place >= 0:
            self._leave_open(pod)
        self.running[queue] += 1
        self.started[queue] += now
        heapq.heappush(self._endings, (now + self.workload.trace.seconds[job], job, pod))

    def _end(self, job: int, pod: Pod) -> None:
        started = pod.running.pop(job, None)
        if started is None:
            return  # it was interrupted before
        queue = self.workload.trace.queue[job]
        self.running[queue] -= 1
        self.started[queue] -= started
        pod.room[queue] += 1
        pod.free += 1
        pod.ended += 1
        if self.workload.failing and inside(self.workload.failing, self.now):
            pod.failed += 1
            self._retry(job, queue)
        else:
            self.completed += 1
            sums, seconds = self.finished[queue], self.now - started
            longest = max(sums.longest_seconds, seconds)
            self.finished[queue] = Finished(sums.jobs + 1, sums.seconds + seconds, sums.seconds_squared + seconds**2, longest)
        if pod.accepting:
            self._claim(pod)
        elif not pod.running:
            self.cluster.drained(pod)

    def _retry(self, job: int, queue: int) -> None:
        self.failed += 1
        attempt = self._attempts[job] = self._attempts.get(job, 0) + 1
        seconds = attempt**4 * self._rng.uniform(1 - _RETRY_JITTER, 1 + _RETRY_JITTER)
        due = self.board.due[job] = self.now + seconds
        insort(self.later, (due, queue))
        self.call_in(seconds, self._retry_due, job, due, queue)

    def _retry_due(self, job: int, due: float, queue: int) -> None:
        self._forget_later(due, queue)
        self._offer(job)

    # --- slots ---

    def _claim(self, pod: Pod) -> None:
        """Fill a pod's free slots with what waits, and offer what is left."""
        board, depth = self.board, self.board.depth
        while pod.free:
            queue = (0 if depth[0] else None) if self._single else board.choose(pod.room, pod.credit)
            if queue is None:
                break
            self._start(board.take(queue), pod)
        if pod.free and pod.place < 0:
            pod.place = len(self._open)
            self._open.append(pod)

    def _leave_open(self, pod: Pod) -> None:
        last = self._open.pop()
        if last is not pod:
            self._open[pod.place] = last
            last.place = pod.place
        pod.place = -1

    # --- what the cluster needs ---

    def random(self) -> float:
        """From 0 to 1."""
        return self._random()

    def draw_start(self, start: PodStart, starting: int) -> float:
        """Seconds until a new pod is Ready."""
        return start.draw(self._rng, starting)

    def open_pod(self, pod: Pod) -> None:
        """Its worker claims from now on."""
        if not pod.room:
            pod.free = self.workload.slots
            pod.room = [queue.max_workers for queue in self.workload.queues]
            pod.credit = [0] * len(pod.room)
        self._claim(pod)

    def close_pod(self, pod: Pod) -> None:
        """Its worker claims no more."""
        if pod.place >= 0:
            self._leave_open(pod)

    def interrupt(self, pod: Pod) -> None:
        """Its running jobs are lost and wait again."""
        for job, started in pod.running.items():
            self.interrupted += 1
            self.lost_seconds += self.now - started
            queue = self.workload.trace.queue[job]
            self.running[queue] -= 1
            self.started[queue] -= started
            self._resumed.add(job)
        jobs = list(pod.running)
        pod.running.clear()
        for job in reversed(jobs):
            free = self._free_pod(self.workload.trace.queue[job])
            if free is None:
                self.board.put_back(job)
            else:
                self._start(job, free)

    def pods_changed(self) -> None:
        """Tell the scaler."""
        self.policy.pods_changed()

    def observable(self) -> bool:
        """Whether a scaler can read the database now."""
        return not inside(self.workload.blind, self.now)
