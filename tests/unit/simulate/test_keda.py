"""The model of KEDA reproduces four runs of KEDA 2.21 on a real Kubernetes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.keda import DEFAULT, TUNED, Keda, KedaSettings
from rivermill_operator.simulate.outcome import measure
from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace

#: The computer of the real runs: two cores, on which 20 pods that start together take about 10 s.
_START = PodStart(0.8, 1.2, together=0.5)
_DUMP = [(0.0, 1.0)] * 2000
_LONG = [(20.0 * n, 60.0) for n in range(6) for _ in range(20)] + [(300 + 20.0 * n, 60.0) for n in range(3) for _ in range(10)]


# The phases of the two loops are chance in a real run: the poll's follows from the time of the first pod, the sync's from
# the time of the peak (within the 15 s of a period). The waits and the cost are then the model's own.
@pytest.mark.parametrize(
    ("jobs", "settings", "poll", "sync", "p50", "p95", "peak", "peak_at", "pod_seconds"),
    [
        pytest.param(_DUMP, DEFAULT, 9.8, 4.0, 44.0, 56.9, 20, 64, 7000, id="dump default"),
        pytest.param(_DUMP, TUNED, 0.1, 12.0, 26.2, 32.1, 20, 12, 1584, id="dump tuned"),
        pytest.param(_LONG, DEFAULT, 9.8, 8.0, 4.1, 24.9, 9, 84, 4120, id="long default"),
        pytest.param(_LONG, TUNED, 0.1, 13.0, 5.1, 15.4, 8, 85, 1583, id="long tuned"),
    ],
)
def test_reproduces_real_runs(
    jobs: list[tuple[float, float]], settings: KedaSettings, poll: float, sync: float,
    p50: float, p95: float, peak: int, peak_at: float, pod_seconds: float,
) -> None:  # fmt: skip
    trace = make_trace([(due, seconds, 0, 1, due) for due, seconds in jobs])
    workload = Workload("real", (QueueSettings("default", 30, 10),), 10, trace, 1000, 20, _START)
    simulation = Simulation(workload, Keda(replace(settings, poll_phase=poll, sync_phase=sync), 1), 1)
    simulation.run()
    outcome = measure(simulation)
    first_at_peak = next(at for at, replicas in simulation.cluster.writes if replicas == outcome.peak)
    assert outcome.peak == pytest.approx(peak, rel=0.25)
    assert first_at_peak == pytest.approx(peak_at, rel=0.25)
    assert outcome.p95 == pytest.approx(p95, rel=0.25)
    assert outcome.pod_seconds == pytest.approx(pod_seconds, rel=0.25)
    # A median of a few seconds depends on the phase by as much as itself.
    assert outcome.p50 == pytest.approx(p50, rel=0.25, abs=1.5 if p50 < 10 else 0)
    assert outcome.interrupted == 0
