"""Which queues are paused: what a client does when it learns of that, however it does."""

from __future__ import annotations

from functools import partial

from rivermill.events import Subscribers
from rivermill.producer import Producer


class Pauses:
    """Stops and resumes claims of queues.

    Args:
        producer: claims.
        subscribers: told once no claim in flight can bring jobs of a queue that is paused.
    """

    def __init__(self, producer: Producer, subscribers: Subscribers) -> None:
        self._producer = producer
        self._subscribers = subscribers

    def set(self, queue: str, *, paused: bool) -> None:
        """Claim a queue no more, or again; ``*`` is every queue. Nothing is said where that is no change."""
        changed = self._producer.set_paused(queue, paused=paused)
        if changed:
            self._producer.after_claim(partial(self._subscribers.emit_paused, changed, paused=paused))
