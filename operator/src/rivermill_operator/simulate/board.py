"""What waits: River's order within a queue, and which queue a pod's free slot goes to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from rivermill_operator.simulate.workload import QueueSettings, Trace

PRIORITIES = 4


class Board:
    """The due jobs of all queues.

    Args:
        queues: the queues.
        trace: the jobs.
    """

    def __init__(self, queues: Sequence[QueueSettings], trace: Trace) -> None:
        self._queue = trace.queue
        self._priority = trace.priority
        self._weights = [queue.priority for queue in queues]
        self._lines: list[tuple[deque[int], ...]] = [tuple(deque() for _ in range(PRIORITIES)) for _ in queues]
        self.depth = [0] * len(queues)
        #: When each job became due for its next run.
        self.due = list(trace.due)

    @property
    def waiting(self) -> int:
        """Jobs of all queues."""
        return sum(self.depth)

    def put(self, job: int) -> None:
        """A job that has just become due."""
        queue = self._queue[job]
        self.depth[queue] += 1
        self._lines[queue][self._priority[job] - 1].append(job)

    def put_back(self, job: int) -> None:
        """An interrupted job: it keeps its place in River's order, before those that became due later."""
        queue = self._queue[job]
        self.depth[queue] += 1
        self._lines[queue][self._priority[job] - 1].appendleft(job)

    def take(self, queue: int) -> int:
        """The next job of a queue that has one."""
        self.depth[queue] -= 1
        for line in self._lines[queue]:
            if line:
                return line.popleft()
        raise AssertionError("depth says that a job waits")

    def jobs(self) -> Iterator[int]:
        """All jobs that wait."""
        for lines in self._lines:
            for line in lines:
                yield from line

    def oldest(self, queue: int) -> float | None:
        """When the job that has waited longest became due."""
        return min((self.due[line[0]] for line in self._lines[queue] if line), default=None)

    def choose(self, room: Sequence[int], credit: list[int]) -> int | None:
        """The queue that gets a pod's next slot: in proportion to priority among those that wait and have room.

        Args:
            room: slots that the pod can still give each queue.
            credit: of the pod, carried over from slot to slot so that no queue starves; changed.
        """
        wanting = [q for q, depth in enumerate(self.depth) if depth and room[q] > 0]
        if len(wanting) <= 1:
            return wanting[0] if wanting else None
        for queue in wanting:
            credit[queue] += self._weights[queue]
        chosen = max(wanting, key=lambda q: (credit[q], self._weights[q]))
        credit[chosen] -= sum(self._weights[q] for q in wanting)
        return chosen
