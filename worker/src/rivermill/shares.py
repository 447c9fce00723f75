"""Which queue gets the next free slots of a process. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """A queue that could use slots: how many more jobs it may run, and its priority (higher is more urgent)."""

    room: int
    priority: int


def share_slots(free: int, wants: Mapping[str, Want], credit: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Give out free slots in proportion to priority, by smooth weighted round-robin.

    The credit carries over from call to call, so that even one slot at a time is shared in proportion and no queue
    starves.

    Args:
        free: slots to give out.
        wants: queues that could use some.
        credit: what an earlier call returned.

    Returns:
        Slots for each queue (only those that get any), and the new credit.
    """
    grants: dict[str, int] = {}
    rooms = {name: want.room for name, want in wants.items() if want.room > 0}
    if sum(rooms.values()) <= free:
        return rooms, {}
    new_credit = {name: credit.get(name, 0) for name in rooms}
    for _ in range(max(free, 0)):
        open_names = [name for name in rooms if grants.get(name, 0) < rooms[name]]
        if not open_names:
            break
        for name in open_names:
            new_credit[name] += wants[name].priority
        chosen = max(open_names, key=lambda name: (new_credit[name], wants[name].priority))
        new_credit[chosen] -= sum(wants[name].priority for name in open_names)
        grants[chosen] = grants.get(chosen, 0) + 1
    return grants, new_credit
