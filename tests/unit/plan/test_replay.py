"""A saved decision can be made again: same inputs, same plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill_operator import explain
from rivermill_operator.main import main
from rivermill_operator.model.observed import Observed, StoreView, Unknown, Verdict
from rivermill_operator.plan import Memory, replay
from rivermill_operator.plan.memory import Burst, Manual, QueueMemory, ScalingMemory
from rivermill_operator.plan.replay import Inputs, ReplayError, load, save
from tests.unit.plan.build import client, deployment, depth, job_queue, pod

SCHEDULE = {"cron": "0 8 * * 1-5", "durationSeconds": 3600, "replicas": 2, "timeZone": "Europe/Berlin"}
QUEUE = job_queue(schedules=[SCHEDULE], manualReplicas=7, idleSlots=3)
STORE = StoreView(
    (depth(waiting=300, oldest_seconds=0.1 + 0.2, concurrency_limit=90, rate_limit=1 / 3), depth("high")),
    (client(1, running=2), client(2, wanted_state="cordoned", state="drained")),
    degraded="arrivals",
)
MEMORY = Memory(
    scaling=ScalingMemory(
        queues=(QueueMemory("default", ((0.0, 0), (1.1, 5)), Burst(0.5, 1 / 3, 1.0), jobs=3, job_seconds=2.5),),
        recommendations=((1.0, 4),),
        manual=Manual(7, 0.25),
        idle=(3.0, 8),
    ),
    costed=(("uid2", 1.5),),
    ready_since=("abc", 2.5),
    conditions=(("Ready", "True", "AsDesired"),),
)
OBSERVED = Observed(
    5.0,
    STORE,
    (deployment(2), deployment(1, "0ld", verdict=Verdict.REJECTED)),
    (pod(1), pod(2, ready=False)),
    utc=datetime(2026, 1, 5, 7, 30, tzinfo=UTC),
)
CASES = {
    "everything": Inputs(OBSERVED, QUEUE, MEMORY),
    "unknown": Inputs(replace(OBSERVED, store=Unknown("Timeout", "late.", 3.5)), QUEUE, Memory()),
    "deletion": Inputs(OBSERVED, replace(QUEUE, deleting=True), MEMORY),
    "conflict": Inputs(replace(OBSERVED, conflict="HPA x"), QUEUE, MEMORY),
    "unbounded drain": Inputs(OBSERVED, job_queue(), MEMORY),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_inputs_give_the_same_plan(name: str) -> None:
    inputs = CASES[name]
    again = load(json.loads(json.dumps(save(inputs))))
    assert again == inputs
    assert again.decide() == inputs.decide()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60), st.floats(0, 4)), min_size=1, max_size=12))
def test_a_whole_run_can_be_replayed_from_any_decision(looks: list[tuple[int, int, float]]) -> None:
    """What one decision remembers is the input of the next, also after it was saved."""
    memory, now, arrived = Memory(), 0.0, 0
    for waiting, more, seconds in looks:
        now, arrived = now + seconds, arrived + more
        store = StoreView((depth(waiting=waiting, arrived=arrived), depth("high")))
        inputs = Inputs(Observed(now, store, (deployment(1),), (pod(1),)), job_queue(), memory)
        done = load(json.loads(json.dumps(save(inputs)))).decide()
        assert done == inputs.decide()
        memory = done.memory


def changed(path: str, value: Any) -> Any:
    saved = json.loads(json.dumps(save(CASES["everything"])))
    node, *rest = path.split(".")
    at = saved
    for part in (node, *rest)[:-1]:
        at = at[part]
    at[path.rpartition(".")[2]] = value
    return saved


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (list, "inputs: is no Inputs of this version"),
        (lambda: changed("observed.store", {"reason": "x"}), "inputs.observed.store: is none of StoreView, Unknown"),
        (lambda: changed("observed.pods", 3), "inputs.observed.pods: must be a list"),
        (lambda: changed("observed.utc", "noon"), "inputs.observed.utc: Invalid isoformat"),
        (lambda: changed("memory.ready_since", ["a"]), "inputs.memory.ready_since: must have 2 items"),
        (lambda: changed("job_queue.spec", {"a": 1}), "inputs.job_queue.spec: is no JobQueueSpec"),
    ],
)
def test_what_cannot_be_read_is_named(saved: Callable[[], Any], message: str) -> None:
    with pytest.raises(ReplayError) as caught:
        load(saved())
    assert message in str(caught.value)


def log(*lines: dict[str, Any]) -> str:
    return "\n".join(["not JSON at all", *(json.dumps(line) for line in lines)])


def test_explain_replays_a_log(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "operator.log"
    file.write_text(log({"message": "decision"}, {"message": "inputs of the decision", "inputs": save(CASES["everything"])}))
    assert main(["explain", "--replay", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "2026-01-05T07:30:00+00:00 7 pods: 300 jobs waiting" in shown
    assert "limited by manualReplicas 7" in shown
    assert "pods: 1 ready, 0 starting, 1 draining; a pod starts in 30 s" in shown
    assert "queue high: 0 waiting, 0 running, 0 due before a pod could start, 0 jobs/s (lately 0), 7.5 s a job (ass" in shown
    assert "ScalingLimited=True" in shown
    assert main(["explain", "--replay", str(file), "--json"]) == 0
    (status,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (status["jobqueue"], status["desiredReplicas"], status["decision"]["won"]) == ("n/q", 7, "manual")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain"], "give NAMESPACE/NAME, or --replay FILE"),
        (["explain", "a/b", "--replay", "x"], "give NAMESPACE/NAME, or --replay FILE"),
        (["explain", "nothing"], "write NAMESPACE/NAME"),
        (["explain", "--replay", "/nowhere"], "--replay /nowhere: [Errno 2]"),
        (["explain", "--replay", __file__], "RIVERMILL_LOG_LEVEL=debug"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


QUEUE_LINE = (
    "at least 1 waiting, the oldest for 2.5 s, 4 running, 3 due before a pod could start, "
    "0.125 jobs/s (lately 0.5), 2 s a job, at most 9 at once, paused"
)
SEEN = {
    "name": "a",
    "waiting": 1,
    "bounded": True,
    "running": 4,
    "oldestSeconds": 2.5,
    "dueSoon": 3,
    "paused": True,
    "concurrencyLimit": 9,
}
LEARNT = {"name": "a", "arrivalsPerSecond": 0.125, "recentArrivalsPerSecond": 0.5, "jobSeconds": 2.0, "measured": True}


def test_a_live_status_is_shown_with_its_conditions() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "AsDesired", "message": "all is well"}
    status = {
        "decision": {
            "sentence": "1 pod.",
            "terms": {"steady": 1, "backlog": 0},
            "won": "steady",
            "bounds": [],
            "pending": "p",
            "inputs": {"ready": 1, "starting": 2, "draining": 0, "queues": [SEEN]},
        },
        "estimates": {"podStartSeconds": 8.0, "queues": [LEARNT]},
        "conditions": [condition],
    }
    assert explain.text(status) == [
        "1 pod.",
        "  pods: 1 ready, 2 starting, 0 draining; a pod starts in 8 s",
        f"  queue a: {QUEUE_LINE}",
        "  steady: 1 replicas (the most)",
        "  backlog: 0 replicas",
        "  pending: p",
        "Ready=True AsDesired: all is well",
    ]
    assert explain.text({}) == ["No decision has been made yet."]
    assert replay.from_text(log({"inputs": save(CASES["unknown"])})) == [CASES["unknown"]]
