"""Which queue gets the next free slots of a process. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """A queue that could use slots: how many more jobs it may run, and its priority (higher is more urgent)."""

    room: int
    priority: int


def share_slots(free: int, wants: Mapping[str, Want], credit: Mapping[str, float]) -> tuple[dict[str, int], dict[str, float]]:
    """Give out free slots in proportion to priority.

    What a queue's share has of a fraction is carried over as credit from call to call, so that even one slot at a time is
    shared in proportion and no queue starves.

    Args:
        free: slots to give out.
        wants: queues that could use some.
        credit: what an earlier call returned.

    Returns:
        Slots for each queue (only those that get any), and the new credit.
    """
    rooms = {name: want.room for name, want in wants.items() if want.room > 0}
    if sum(rooms.values()) <= free:
        return rooms, {}
    grants: dict[str, int] = {}
    left = max(free, 0)
    shares = _shares(left, rooms, wants, credit)
    while full := [name for name, share in shares.items() if share >= rooms[name]]:
        # Their room is less than their share, so the others have more to share.
        for name in full:
            grants[name] = min(rooms[name], left)
            left -= grants[name]
        shares = _shares(left, shares.keys() - set(full), wants, credit)
    for name, share in shares.items():
        grants[name] = min(max(int(share), 0), left)
        left -= grants[name]
    rest = {name: share - grants[name] for name, share in shares.items()}
    for name in sorted(rest, key=lambda name: (rest[name], wants[name].priority), reverse=True)[:left]:
        grants[name] += 1
        rest[name] -= 1
    return {name: count for name, count in grants.items() if count}, rest


def _shares(free: int, names: Iterable[str], wants: Mapping[str, Want], credit: Mapping[str, float]) -> dict[str, float]:
    """Each queue's share of free slots, with its credit; together they are as many as are free."""
    names = list(names)
    total = sum(wants[name].priority for name in names)
    surplus = sum(credit.get(name, 0.0) for name in names)
    return {name: credit.get(name, 0.0) + (free - surplus) * wants[name].priority / total for name in names}
