"""KEDA 2.21 with its HPA, and the plain HPA, as scalers of one Deployment. The metric is waiting plus running jobs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.hpa import SYNC_SECONDS, Behavior, Hpa, Rate

_OLD, _NEW = "old", "new"
_SURGE = 0.25


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """A ScaledObject.

    Attributes:
        name: of the scaler in tables.
        polling_seconds: ``pollingInterval``; None for an HPA without KEDA, which never goes to zero.
        cooldown_seconds: ``cooldownPeriod``.
        behavior: of the HPA.
        poll_phase, sync_phase: seconds until the first poll and the first sync; None draws them by the seed.
    """

    name: str
    polling_seconds: float | None = 30.0
    cooldown_seconds: float = 300.0
    behavior: Behavior | None = None
    poll_phase: float | None = None
    sync_phase: float | None = None


DEFAULT = KedaSettings("keda")
TUNED = KedaSettings("keda-tuned", 5.0, 60.0, Behavior(up=(Rate(20), Rate(900, percent=True)), down_window=60.0))
PLAIN_HPA = KedaSettings("hpa", None)


class Keda:
    """``Policy``: KEDA's loop between zero and one, the HPA's above.

    Args:
        settings: of the ScaledObject.
        seed: of the phases of both loops.
    """

    def __init__(self, settings: KedaSettings, seed: int) -> None:
        self.name = settings.name
        self._settings = settings
        rng = random.Random(seed)
        polling = settings.polling_seconds or 0.0
        self._poll_phase = rng.uniform(0, polling) if settings.poll_phase is None else settings.poll_phase
        self._sync_phase = rng.uniform(0, SYNC_SECONDS) if settings.sync_phase is None else settings.sync_phase
        self._last_active: float | None = None
        self._replicas = 0
        self._version = _OLD

    def begin(self, simulation: Simulation) -> None:
        """Set the first timers."""
        workload = simulation.workload
        self._simulation = simulation
        self._hpa = Hpa(workload.slots, 1, workload.max_replicas, self._settings.behavior)
        simulation.cluster.add_set(_OLD)
        if self._settings.polling_seconds is None:
            self._write(1)
        else:
            simulation.call_in(self._poll_phase, self._poll, self._settings.polling_seconds)
        simulation.call_in(self._sync_phase, self._sync)

    def job_due(self) -> None:
        """KEDA's PostgreSQL scaler does not listen."""

    def _metric(self) -> int:
        return self._simulation.board.waiting + sum(self._simulation.running)

    def _poll(self, every: float) -> None:
        simulation = self._simulation
        simulation.call_in(every, self._poll, every)
        if not simulation.observable():
            return
        if self._metric() > 0:
            self._last_active = simulation.now
            if self._replicas == 0:
                self._write(1)
        elif self._replicas > 0:
            idle = math.inf if self._last_active is None else simulation.now - self._last_active
            if idle > self._settings.cooldown_seconds:
                self._write(0)

    def _sync(self) -> None:
        simulation = self._simulation
        simulation.call_in(SYNC_SECONDS, self._sync)
        metric = self._metric() if simulation.observable() else None
        self._write(self._hpa.sync(simulation.now, self._replicas, len(simulation.cluster.live()), metric))

    def _write(self, replicas: int) -> None:
        if replicas == self._replicas:
            return
        cluster = self._simulation.cluster
        cluster.writes.append((self._simulation.now, replicas))
        self._replicas = replicas
        if self._version == _OLD:
            cluster.set_replicas(_OLD, replicas)
        else:
            self._roll()

    # --- the Deployment's RollingUpdate, 25 % surge and unavailable ---

    def rollout(self) -> None:
        """A new pod template has been set."""
        self._version = _NEW
        self._simulation.cluster.add_set(_NEW)
        self._roll()

    def pods_changed(self) -> None:
        """The Deployment controller goes on when pods become Ready."""
        if self._version == _NEW:
            self._simulation.call_in(0.0, self._roll)

    def _roll(self) -> None:
        cluster = self._simulation.cluster
        old, new = cluster.sets[_OLD], cluster.sets[_NEW]
        wanted = self._replicas
        room = wanted + math.ceil(wanted * _SURGE) - old.replicas - new.replicas
        target = min(wanted, new.replicas + max(0, room))
        if target != new.replicas:
            cluster.set_replicas(_NEW, target)
        if not old.replicas:
            return
        available = sum(1 for pod in cluster.live() if pod.ready)
        unready = sum(1 for pod in cluster.live(_OLD) if not pod.ready)
        minimum = wanted - math.floor(wanted * _SURGE)
        spare = unready + max(0, available - minimum)
        keep = max(0, old.replicas - spare)
        if keep != old.replicas:
            cluster.set_replicas(_OLD, keep)
