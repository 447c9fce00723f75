"""The ``status`` of a ``JobQueue`` as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_MAX_MESSAGE = 1024


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
