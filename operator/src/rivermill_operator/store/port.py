"""What the control loop needs of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rivermill_operator.model.observed import QueueProbe, StoreView

#: Reasons that only a person can do away with, who has to mend the URL or the rights of its user.
REFUSED = frozenset({"AuthenticationFailed", "DatabaseNotFound", "InvalidDatabaseURL", "PermissionDenied"})


class StoreError(Exception):
    """The database could not be observed.

    Args:
        reason: a CamelCase condition reason.
        message: a sentence without secrets.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Store(Protocol):
    """One schema of one database. Every method may raise ``StoreError``."""

    async def observe(self, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        """Depths of the queues, and the clients that run in these pods."""
        ...

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        """Tell clients what to do: ``cordoned`` or ``accepting``."""
        ...

    async def bury(self, client_ids: Sequence[str]) -> None:
        """Declare clients dead whose pods are gone, unless they have been heard of again."""
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What one JobQueue uses of a database; ``created`` is the JobQueue's creation time, RFC 3339."""

    created: str
    schema: str
    queues: frozenset[str]


class StoreProvider(Protocol):
    """Hands out stores, and knows who uses which."""

    def use(self, key: tuple[str, str], dsn: str, usage: Usage) -> Store:
        """The store of a JobQueue, which from now on is woken by notifications for its queues."""
        ...

    def older_user(self, key: tuple[str, str], dsn: str) -> tuple[tuple[str, str], str] | None:
        """An older JobQueue that works one of the queues of this one, and which queue; equal ages go by name."""
        ...

    def release(self, key: tuple[str, str]) -> None:
        """A JobQueue is gone."""
        ...
