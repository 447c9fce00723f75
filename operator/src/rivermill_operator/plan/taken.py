"""Pods that somebody else takes away while jobs run in them: ``kubectl delete`` or ``scale``, a node drain, another scaler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rivermill_operator.model.observed import ClientView, FleetView, Observed, StoreView, Unknown
from rivermill_operator.plan.explain import count
from rivermill_operator.plan.plan import Event, Memory


def with_taken(view: FleetView, observed: Observed, memory: Memory) -> FleetView:
    """The fleet with what is taken from it: its jobs run on for their grace period, and are given back then.

    Until then they need slots, or the fleet would be thought to be large enough without them. It counts as no larger than it
    was last wanted.

    Args:
        view: the fleet without them.
        observed: the world as it is.
        memory: of the last plan.
    """
    clients = _taken(observed, memory)
    if not clients:
        return view
    jobs: Counter[str] = Counter()
    for client in clients:
        jobs.update(client.running_by_queue)
    room = max(0, (memory.desired or 0) - view.accepting)
    return replace(view, taken=min(room, len({client.pod_uid for client in clients})), leaving=dict(jobs))


def wrong_victims(observed: Observed, memory: Memory) -> tuple[Event, ...]:
    """The Event of the first look that can tell that busy pods are being deleted that the operator did not choose."""
    fresh = set(memory.homes) - set(memory.doomed)
    running: Counter[str | None] = Counter()
    for client in _taken(observed, memory):
        running[client.pod_uid] += client.running
    hit = [pod for pod in observed.pods if pod.deleting and pod.uid in fresh and running[pod.uid]]
    if not hit:
        return ()
    jobs = sum(running[pod.uid] for pod in hit)
    others = f" and {count(len(hit) - 1, 'other')}" if len(hit) > 1 else ""
    pods = f"Pod {hit[0].name}{others} {'are' if others else 'is'}"
    spared = [pod.name for pod in observed.pods if pod.uid in memory.removing and not pod.deleting]
    instead = f"{spared[0]} was drained to go, and " if spared else ""
    message = (
        f"{pods} being deleted with {count(jobs, 'job')} running, by a choice that is not the operator's: {instead}"
        "jobs that do not end in their grace period are given back and begin anew."
    )
    return (Event("Warning", "WrongVictim", message),)


def doomed(observed: Observed, memory: Memory) -> tuple[str, ...]:
    """The pods of which ``wrong_victims`` has nothing more to tell.

    While nobody can tell whether jobs run in them, those that began to be deleted since are left for a look that can.
    """
    told = memory.doomed if isinstance(observed.store, Unknown) else memory.homes
    return tuple(pod.uid for pod in observed.pods if pod.deleting and (pod.uid in told or pod.uid not in memory.homes))


def _taken(observed: Observed, memory: Memory) -> Sequence[ClientView]:
    """The busy clients of pods that are being deleted, or are gone, and were not chosen to go."""
    if not isinstance(observed.store, StoreView):
        return ()
    here = {pod.uid: pod.deleting for pod in observed.pods}
    known = {*here, *memory.homes, *(uid for uid, _ in memory.lost)}
    gone = {uid for uid in known if here.get(uid, True)} - set(memory.removing)
    return [client for client in observed.store.clients if client.running and client.pod_uid in gone]
