"""The ``status`` of a ``JobQueue`` as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Condition:
    """One status condition; the writer fills in ``lastTransitionTime``. ``status`` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Why the fleet has the size it has.

    Attributes:
        desired_replicas: the replicas wanted now, after bounds; None while nothing could be decided.
        terms: name of each term of the rule → replicas it asks for.
        bounds: bounds that changed the outcome, in the order applied.
        pending: what holds a change back, e.g. ``scale-in allowed in 42 s``; None when nothing does.
        sentence: the whole decision in one plain sentence.
    """

    desired_replicas: int | None
    terms: Mapping[str, int] = field(default_factory=dict)
    bounds: tuple[str, ...] = ()
    pending: str | None = None
    sentence: str = ""
