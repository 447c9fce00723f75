"""What the benchmark of the operator at scale reads, and what it makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.operator import measure, report
from benchmarks.operator.measure import Steps
from benchmarks.operator.replicas import Replicas, grown_decisions
from benchmarks.operator.world import Scale

METRICS = """
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",group="apps",resource="deployments",scope="resource",subresource="scale",verb="PATCH"} 3
apiserver_request_total{code="409",group="apps",resource="deployments",scope="resource",subresource="scale",verb="PATCH"} 1
apiserver_request_total{code="200",group="apps",resource="deployments",scope="resource",subresource="status",verb="PUT"} 50
apiserver_request_total{code="200",group="rivermill.dev",resource="jobqueues",subresource="status",verb="PATCH"} 8
apiserver_request_total{code="200",group="",resource="pods",scope="resource",subresource="status",verb="PATCH"} 90
apiserver_request_total{code="200",group="",resource="pods",scope="cluster",subresource="",verb="WATCH"} 2
"""


def test_only_the_operators_writes_count() -> None:
    assert measure.writes(METRICS) == {"patch deployments/scale": 4.0, "patch jobqueues/status": 8.0}
    assert measure.grown({"a": 5.0, "b": 1.0}, {"a": 2.0, "b": 1.0}) == {"a": 3.0}


def write(name: str, replicas: int, second: int, code: int = 200) -> str:
    scale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": replicas}}
    at = f"1970-01-01T00:00:{second:02d}.250000Z"
    event = {"objectRef": {"name": f"{name}-13e4d1a9"}, "requestObject": scale, "stageTimestamp": at}
    return json.dumps(event | {"responseStatus": {"code": code}}) + "\n"


def test_growth_is_the_first_write_of_more_replicas_since(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path)
    lines = [
        write("queue-a", 20, 1),
        write("queue-b", 20, 2),
        write("queue-a", 30, 5, code=409),
        write("queue-b", 19, 6),
        write("queue-a", 30, 7),
        write("queue-a", 31, 8),
    ]
    (tmp_path / "audit.log").write_text("".join(lines), encoding="utf-8")
    assert replicas.grown(4.0) == {"queue-a": 7.25}
    assert replicas.grown(0.0) == {"queue-a": 1.25, "queue-b": 2.25}


def test_decisions_are_for_more_pods_and_since(tmp_path: Path) -> None:
    log = tmp_path / "operator.log"

    def line(second: int, name: str, wanted: int | None, message: str = "decision") -> str:
        decision = {"desired_replicas": wanted}
        return json.dumps(
            {"time": f"1970-01-01T00:00:0{second}.500Z", "message": message, "jobqueue": name, "decision": decision}
        )

    lines = [line(1, "n/a", 2), line(2, "n/b", 3), line(3, "n/a", 2), line(4, "n/a", 5, "inputs of the decision")]
    log.write_text(
        "\n".join([*lines, "no JSON", line(5, "n/a", 5), line(6, "n/a", 7), line(7, "n/b", None), line(8, "n/b", 1)])
    )
    assert grown_decisions(log, 0.0) == {"a": 1.5, "b": 2.5}
    assert grown_decisions(log, 3.0) == {"a": 5.5, "b": 8.5}


def test_steps_are_those_since() -> None:
    before = Steps({0.1: 10.0, 1.0: 10.0, float("inf"): 10.0}, 10.0)
    made = Steps({0.1: 100.0, 1.0: 108.0, float("inf"): 110.0}, 110.0).since(before)
    assert (made.at_most(0.5), made.at_most(0.95), made.within(1.0), made.decisions) == (0.1, 1.0, 0.98, 100.0)


def test_nothing_was_made() -> None:
    assert Steps({}, 0.0).within(1.0) == 1.0


def figures(**steady: Any) -> dict[str, Any]:
    return {
        "scale": {"databases": 5, "job_queues": 40, "idle_pods": 20},
        "warm_up": {"seconds": 60.0, "cpu_seconds": 20.0, "peak_mb": 100.0},
        "reaction": {
            "commit_to_decision_p50_seconds": 0.1,
            "commit_to_decision_p95_seconds": 0.2,
            "commit_to_decision_max_seconds": 0.3,
            "commit_to_replicas_p50_seconds": 0.4,
            "commit_to_replicas_p95_seconds": 0.9,
            "commit_to_replicas_max_seconds": 1.1,
        },
        "steady": {
            "pods": 5000,
            "rss_peak_of_run_mb": 150.0,
            "rss_max_mb": 140.0,
            "cpu_cores": 0.3,
            "machine_cores": 2,
            "machine_busy_cores": 1.5,
            "decisions_per_second": 130.0,
            "step_within_1_second": 0.999,
            "connections_by_database": {"a": 2, "b": 2},
            "writes_per_minute": {"patch jobqueues/status": 800.0},
            **steady,
        },
    }


@pytest.mark.parametrize(
    ("steady", "missed"),
    [
        ({}, []),
        ({"rss_peak_of_run_mb": 301.0}, ["300 MB"]),
        ({"cpu_cores": 0.6}, ["0.5 cores"]),
        ({"connections_by_database": {"a": 2, "b": 3}}, ["2"]),
        ({"writes_per_minute": {"patch pods": 900.0}}, ["4"]),
        ({"step_within_1_second": 0.9}, ["95 %"]),
    ],
)
def test_bars(steady: dict[str, Any], missed: list[str]) -> None:
    found = figures(**steady)
    assert [bar.bar for bar in report.bars(found) if not bar.met] == missed
    assert report.table(found).count("| missed |") == len(missed)


def test_the_scale_is_what_the_aim_says() -> None:
    scale = Scale()
    assert (scale.databases * scale.job_queues, scale.pods, scale.first_pods) == (200, 5_000, 4_000)
