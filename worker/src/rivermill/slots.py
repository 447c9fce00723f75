"""Which claimed jobs of a process run and which still wait for a slot. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(slots=True, eq=False)
class QueueSlots(Generic[ItemT]):
    """The jobs of one queue that a process holds.

    Attributes:
        max_workers: the most that run at once.
        running: those that have a slot.
        waiting: those claimed ahead, in the order in which they are to run.
        ended: those that have given up a slot so far.
        leaving: whether somebody waits for the last of its jobs to end.
    """

    max_workers: int
    running: int = 0
    waiting: deque[ItemT] = field(default_factory=deque)
    ended: int = 0
    leaving: bool = False

    @property
    def held(self) -> int:
        """Jobs claimed and not ended."""
        return self.running + len(self.waiting)


class Slots(Generic[ItemT]):
    """The slots of one process.

    Args:
        total: jobs that run at once over all queues.
        queues: queue → the most of its jobs that run at once.

    Attributes:
        running: jobs that have a slot, over all queues.
        waiting: jobs claimed ahead, over all queues.
    """

    def __init__(self, total: int, queues: Mapping[str, int]) -> None:
        self.total = total
        self.running = 0
        self.queues: dict[str, QueueSlots[ItemT]] = {name: QueueSlots(most) for name, most in queues.items()}
        self.waiting = 0
        # In the order in which their jobs began to wait.
        self._queued: dict[QueueSlots[ItemT], None] = {}

    def add_queue(self, name: str, most: int, total: int) -> None:
        """Have one queue more, and so ``total`` slots from now on."""
        self.queues[name] = QueueSlots(most)
        self.total = total

    def remove_queue(self, name: str, total: int) -> None:
        """Have one queue less, of which no job is held, and so ``total`` slots from now on."""
        del self.queues[name]
        self.total = total

    def admit(self, queue: QueueSlots[ItemT], items: Sequence[ItemT]) -> Sequence[ItemT]:
        """Give claimed jobs a slot each, in their order, as long as there are free ones; let the others wait.

        Returns:
            Those that have a slot and are to run now.
        """
        free = max(0, min(self.total - self.running, queue.max_workers - queue.running))
        running, waiting = items[:free], items[free:]
        self.running += len(running)
        queue.running += len(running)
        if waiting:
            queue.waiting += waiting
            self._queued[queue] = None
            self.waiting += len(waiting)
        return running

    def release(self, queue: QueueSlots[ItemT]) -> ItemT | None:
        """A job has ended.

        Returns:
            The job that has its slot now, preferably one of the same queue.
        """
        self.running -= 1
        queue.running -= 1
        queue.ended += 1
        return self._heir(queue) if self.waiting and self.running < self.total else None

    def _heir(self, queue: QueueSlots[ItemT]) -> ItemT | None:
        if queue.waiting and queue.running < queue.max_workers:
            return self._next_of(queue)
        for heir in self._queued:
            if heir.running < heir.max_workers:
                return self._next_of(heir)
        return None

    def _next_of(self, queue: QueueSlots[ItemT]) -> ItemT:
        self.running += 1
        queue.running += 1
        item = queue.waiting.popleft()
        self._wait_less(queue)
        return item

    def _wait_less(self, queue: QueueSlots[ItemT]) -> None:
        self.waiting -= 1
        if not queue.waiting:
            del self._queued[queue]

    def withdraw(self, queue: QueueSlots[ItemT], item: ItemT) -> None:
        """A job that waits is not to run after all.

        Raises:
            ValueError: it does not wait.
        """
        queue.waiting.remove(item)
        self._wait_less(queue)

    def seize(self, queue: QueueSlots[ItemT], item: ItemT) -> None:
        """A job that waits runs now, whether a slot is free or not: it is not going to hold it."""
        self.withdraw(queue, item)
        self.running += 1
        queue.running += 1

    def all_waiting(self) -> list[ItemT]:
        """The jobs that wait."""
        return [item for queue in self._queued for item in queue.waiting]
