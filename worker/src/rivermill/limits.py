"""Concurrency limits: how many jobs of a queue run at once, in all clients together and in each. Pure.

They are kept in ``river_queue.metadata`` under the key ``concurrency``, in the form in which River UI writes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rivermill.errors import ValidationError

KEY = "concurrency"
LIMITED_SQL = f"coalesce(jsonb_typeof(metadata -> '{KEY}') = 'object', false)"
"""Whether the metadata of a row of ``river_queue`` mention limits."""
_MOST = 1_000_000

logger = logging.getLogger("rivermill.limits")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many jobs of a queue run at once; with a partition, how many of each part of it.

    Args:
        global_limit: in all clients together; None is no limit.
        local_limit: in each client; None is no limit.
        by_kind: jobs of each kind are limited on their own.
        by_args: jobs with the same values of these args are; ``True`` is all args.

    Raises:
        ValidationError: there is no limit, or a value is wrong.
    """

    global_limit: int | None = None
    local_limit: int | None = None
    by_kind: bool = False
    by_args: bool | Sequence[str] = False

    def __post_init__(self) -> None:
        if self.global_limit is None and self.local_limit is None:
            raise ValidationError("concurrency: give global_limit, local_limit or both")
        for name in ("global_limit", "local_limit"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST):
                raise ValidationError(f"concurrency {name} {value!r}: use a whole number from 1 to {_MOST}")
        names = self.by_args
        if not isinstance(names, bool) and (
            isinstance(names, str) or not names or not all(isinstance(n, str) and n for n in names)
        ):
            raise ValidationError(f"concurrency by_args {names!r}: use True, or a list of names of args")

    def to_metadata(self) -> dict[str, Any]:
        """The value of the key ``concurrency``."""
        partition: dict[str, Any] = {}
        if self.by_kind:
            partition["by_kind"] = True
        if self.by_args:
            partition["by_args"] = [] if self.by_args is True else list(self.by_args)
        return {"global_limit": self.global_limit or 0, "local_limit": self.local_limit or 0, "partition": partition}


def read_concurrency(value: Any) -> Concurrency | None:
    """The limits that a queue's metadata say; None for no limits, and for what cannot be read as such."""
    if not value:
        return None
    try:
        partition = value.get("partition") or {}
        by_args = partition.get("by_args")
        names: bool | Sequence[str] = False if by_args is None else (tuple(by_args) or True)
        most, here = value.get("global_limit") or None, value.get("local_limit") or None
        if most is None and here is None:
            return None
        return Concurrency(most, here, by_kind=bool(partition.get("by_kind")), by_args=names)
    except (AttributeError, TypeError, ValidationError) as error:
        logger.warning("a queue's concurrency cannot be read: its jobs are not limited", extra={"error": str(error)})
        return None


def is_limited(metadata: Mapping[str, Any] | Any) -> bool:
    """Whether a queue's metadata mention limits."""
    return isinstance(metadata, Mapping) and isinstance(metadata.get(KEY), Mapping)
