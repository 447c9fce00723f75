"""How many slots a Poisson stream of jobs needs so that few of them wait too long."""

from __future__ import annotations

import math

#: The share of jobs that may wait longer than their goal.
EPSILON = 0.05


def slots_for(load: float, patience: float, limit: int) -> int:
    """The least slots with P(wait > goal) <= ``EPSILON`` in an M/M/s queue.

    Args:
        load: offered load in slots (arrivals/s times seconds per job).
        patience: the goal in job durations.
        limit: never answer more.
    """
    if load <= 0:
        return 0
    if load >= limit:
        return limit
    slots = math.floor(load) + 1
    blocked = 1.0  # Erlang B, by recursion over the slots
    for count in range(1, slots + 1):
        blocked = load * blocked / (count + load * blocked)
    while slots < limit:
        waits = blocked / (1 - (load / slots) * (1 - blocked))  # Erlang C
        if waits * math.exp(-(slots - load) * patience) <= EPSILON:
            break
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
    return slots
