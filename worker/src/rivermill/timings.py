"""Intervals of a client's parts."""

from __future__ import annotations

from dataclasses import dataclass

from rivermill.control_poll import ControlPollTimings
from rivermill.leader import ElectionTimings
from rivermill.maintenance.services import MaintenanceTimings
from rivermill.notify import ListenerTimings
from rivermill.sequencer import SequencerTimings


@dataclass(frozen=True, slots=True)
class Timings:
    """Intervals that only tests change."""

    election: ElectionTimings = ElectionTimings()
    maintenance: MaintenanceTimings = MaintenanceTimings()
    listener: ListenerTimings = ListenerTimings()
    control_poll: ControlPollTimings = ControlPollTimings()
    sequencer: SequencerTimings = SequencerTimings()
