"""Clients whose pod is gone: they can be declared dead before their silence alone would show it."""

from __future__ import annotations

from rivermill_operator.model.observed import SILENT_SECONDS, Observed, StoreView
from rivermill_operator.plan.plan import Memory

#: A client that leaves in order deletes its row within this time; a pod that never had one is forgotten then.
_FORGET_SECONDS = 5.0


def find_lost(observed: Observed, memory: Memory) -> tuple[tuple[str, ...], tuple[tuple[str, float], ...]]:
    """The clients to declare dead, and the pods that are gone but whose clients are to be watched on.

    Args:
        observed: clients of the pods that are there and of those in ``memory.lost``.
        memory: what was there last time.
    """
    here = {pod.uid for pod in observed.pods}
    gone = dict(memory.lost) | {uid: observed.now for uid in memory.homes if uid not in here}
    gone = {uid: since for uid, since in gone.items() if uid not in here}
    if not isinstance(observed.store, StoreView):
        return (), tuple(gone.items())
    clients = [c for c in observed.store.clients if c.pod_uid in gone]
    dead = tuple(c.client_id for c in clients if c.silent_seconds > SILENT_SECONDS and c.running)
    known = {c.pod_uid for c in clients}
    watched = {uid: since for uid, since in gone.items() if uid in known or observed.now - since < _FORGET_SECONDS}
    return dead, tuple(watched.items())
