"""Which inserts notify workers. Mirrors River's ``internal/notifylimiter``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

#: Commits that notify wait for each other, in all databases of a server: a client's notifications of a queue in a second, and
#: how many seconds' worth may come at once.
_NOTIFIED_PER_SECOND = 200
_NOTIFIED_AT_ONCE_SECONDS = 0.1


class _Admitted(NamedTuple):
    """The last notification of a queue, and until when its rate is used up; monotonic seconds."""

    at: float
    paid_until: float


class NotifyLimiter:
    """Lets few insert notifications per queue through; workers find the others' jobs with the claims that follow.

    Args:
        cooldown: least time between two.
    """

    def __init__(self, cooldown: timedelta) -> None:
        self._cooldown = cooldown.total_seconds()
        self._admitted: dict[str, _Admitted] = {}
        self._remembered = max(self._cooldown, _NOTIFIED_AT_ONCE_SECONDS)
        self._forget_at = float("-inf")

    def __len__(self) -> int:
        """How many queues it remembers."""
        return len(self._admitted)

    def admit(self, queues: Iterable[str]) -> list[str]:
        """Which of these queues may be notified now."""
        now = time.monotonic()
        if now > self._forget_at:
            # A program may insert into a queue for each of its users, and live long.
            self._admitted = {name: last for name, last in self._admitted.items() if now - last.at <= self._remembered}
            self._forget_at = now + self._remembered
        return [queue for queue in queues if self._admit(queue, now)]

    def _admit(self, queue: str, now: float) -> bool:
        last = self._admitted.get(queue)
        if last is not None and last.at >= now - self._cooldown:
            return False
        paid_until = (now if last is None else max(now, last.paid_until)) + 1 / _NOTIFIED_PER_SECOND
        if paid_until > now + _NOTIFIED_AT_ONCE_SECONDS:
            return False
        self._admitted[queue] = _Admitted(now, paid_until)
        return True
