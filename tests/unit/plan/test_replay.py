"""A saved decision can be made again: same inputs, same plan."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill_operator import explain
from rivermill_operator.main import main
from rivermill_operator.model.observed import Observed, StoreView, Unknown, Verdict
from rivermill_operator.plan import Memory, replay
from rivermill_operator.plan.counted import Counted
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
        queues=(
            QueueMemory(
                "default",
                ((0.0, 0), (1.1, 5)),
                0.0,
                Burst(0.5, 1 / 3, 1.0),
                jobs=3,
                job_seconds=2.5,
                counted=Counted(2000, 5, 3, 1, ((1.1, 7),), 2),
            ),
        ),
        recommendations=((1.0, 4),),
        manual=Manual(7, 0.25),
        idle=(3.0, 8),
    ),
    costed=(("uid2", 1.5),),
    ready_since=("abc", 2.5),
    conditions=(("Ready", "True", "AsDesired", ""), ("QueueObserved", "False", "InvalidDatabaseURL", "wrong.")),
    warned=(("default", 30.0),),
)
OBSERVED = Observed(
    5.0,
    STORE,
    (deployment(2), deployment(1, "0ld", verdict=Verdict.REJECTED, trial=(3, 4))),
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


def test_explain_replays_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "operator.log"
    file.write_text(log({"message": "decision"}, {"message": "inputs of the decision", "inputs": save(CASES["everything"])}))
    assert main(["explain", "--replay", str(file)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("n/q 2026-01-05T07:30:00Z 7 pods: 300 jobs waiting")
    assert "set by manualReplicas 7" in shown
    assert "  bound: manualReplicas 7" in shown
    assert "pods: 1 ready, 0 starting, 1 draining; a pod starts in 30 s" in shown
    assert "queue high: 0 waiting, 0 running, 0 due before a pod could start, 0 jobs/s (lately 0), 7.5 s a job (ass" in shown
    assert "ScalingLimited=True" in shown
    assert main(["explain", "--replay", str(file), "--json"]) == 0
    (status,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (status["jobqueue"], status["desiredReplicas"], status["decision"]["won"]) == ("n/q", 7, "manual")


def test_a_replay_prints_only_the_conditions_that_have_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "operator.log"
    names = ("everything", "everything", "unknown")
    file.write_text(log(*({"inputs": save(CASES[name])} for name in names)))
    assert main(["explain", "--replay", str(file)]) == 0
    all_of_them, none, news = (part.splitlines() for part in capsys.readouterr().out.split("\n\n"))
    conditions = [line for line in all_of_them if re.match("[A-Z][A-Za-z]+=", line)]
    assert len(conditions) == 7
    assert none == [line for line in all_of_them if line not in conditions]
    assert [line for line in news if line.startswith("QueueObserved=False Timeout")]
    assert not set(news) & set(conditions)


INPUTS = save(CASES["everything"])
OTHER = save(replace(CASES["unknown"], job_queue=replace(QUEUE, name="other")))


@pytest.mark.parametrize(
    "text",
    [
        log({}, {"inputs": INPUTS}) + "\n\n\n",
        json.dumps({"inputs": INPUTS}, indent=2),
        json.dumps(INPUTS, indent=2),
        f"[pod/operator-0] 2026-01-05T07:30:00.5Z {json.dumps({'inputs': INPUTS})}\r\n",
        f"panic: {{not JSON}}\n{{\n{json.dumps({'inputs': INPUTS})}",
    ],
    ids=["blank lines", "laid out", "the inputs alone", "with the pod's name and the time", "among other lines"],
)
def test_the_inputs_are_found_however_they_stand(text: str) -> None:
    assert replay.from_text(text) == [CASES["everything"]]


@pytest.mark.parametrize(
    "time", ["2026-01-05T07:30:00Z", "2026-01-05T08:30:00+01:00", "2026-01-05T07:30:00", "2026-01-05 07:30"]
)
def test_times_are_read_in_any_zone(time: str) -> None:
    inputs = load(changed("observed.utc", time))
    assert inputs.observed.utc.isoformat() == "2026-01-05T07:30:00+00:00"
    assert inputs.decide() == CASES["everything"].decide()


def test_one_of_several_is_replayed_from_the_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = log({"inputs": INPUTS}, {"inputs": OTHER}, {"inputs": INPUTS})

    def shown(*arguments: str) -> list[str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert main(["explain", *arguments]) == 0
        return [part.split()[0] for part in capsys.readouterr().out.split("\n\n")]

    assert shown("--replay", "-") == ["n/q", "n/other", "n/q"]
    assert shown("n/other", "--replay", "-") == ["n/other"]
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["explain", "n/none", "--replay", "-"]) == 2
    assert "--replay -: it has no decision of n/none; it has some of n/other, n/q\n" in capsys.readouterr().err


def test_the_line_of_another_version_is_named() -> None:
    with pytest.raises(ReplayError, match=r"^line 3: inputs.job_queue.spec: is no JobQueueSpec of this version .* version of"):
        replay.from_text(log({"inputs": INPUTS}, {"inputs": changed("job_queue.spec", {"a": 1})}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain"], "give NAMESPACE/NAME of a JobQueue in the cluster, or --replay FILE"),
        (["explain", "mail"], "explain 'mail': write NAMESPACE/NAME; `kubectl get jobqueues -A` lists them"),
        (["explain", "a/b/c"], "explain 'a/b/c': write NAMESPACE/NAME"),
        (["explain", "a/"], "explain 'a/': write NAMESPACE/NAME"),
        (["explain", "mail", "--replay", "x"], "explain 'mail': write NAMESPACE/NAME"),
        (["explain", "--replay", "/nowhere"], "--replay /nowhere: No such file or directory\n"),
        (["explain", "--replay", "/"], "--replay /: Is a directory\n"),
        (["explain", "--replay", sys.executable], "; it is no log\n"),
        (["explain", "--replay", __file__], "RIVERMILL_LOG_LEVEL=debug, and RIVERMILL_LOG_FORMAT=json"),
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


CONDITION = {"type": "Ready", "status": "True", "reason": "AsDesired", "message": "all is well"}
IMAGINED = "4 imagined as ready: there is none, and the last decision would have made them"
SEEN_BY = {"ready": 1, "starting": 2, "draining": 0, "queues": [SEEN]}
DECISION = {
    "time": "2026-01-05T07:30:00Z",
    "sentence": "1 pod.",
    "terms": {"steady": 1, "backlog": 0},
    "won": "steady",
    "bounds": [],
    "pending": "p",
    "inputs": SEEN_BY,
}
STATUS = {
    "jobqueue": "n/q",
    "mode": "Scale",
    "decision": DECISION,
    "estimates": {"podStartSeconds": 8.0, "queues": [LEARNT]},
    "conditions": [CONDITION],
}
DECIDED = [
    "n/q 2026-01-05T07:30:00Z 1 pod.",
    "  pods: 1 ready, 2 starting, 0 draining; a pod starts in 8 s",
    f"  queue a: {QUEUE_LINE}",
    "  steady: 1 replica (the most)",
    "  backlog: 0 replicas",
    "  pending: p",
    "Ready=True AsDesired: all is well",
]


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (STATUS, DECIDED),
        (
            {**STATUS, "mode": "Observe"},
            ["n/q is only observed: this is what the operator would do, and it writes nothing.", *DECIDED],
        ),
        (
            {**STATUS, "decision": {**DECISION, "inputs": {**SEEN_BY, "ready": 0, "starting": 0, "imagined": 4}}},
            [
                DECIDED[0],
                f"  pods: 0 ready, 0 starting, 0 draining; {IMAGINED}; a pod starts in 8 s",
                *DECIDED[2:],
            ],
        ),
        (
            {**STATUS, "mode": "Paused"},
            [
                "n/q is paused: its pods stay as they are, and nothing is read or decided until spec.mode is Scale.",
                DECIDED[0],
                DECIDED[-1],
            ],
        ),
        (
            {"jobqueue": "n/q", "mode": "Scale"},
            ["n/q: No decision has been made yet: see the log of the operator, and whether it watches this namespace."],
        ),
    ],
    ids=["scale", "observe", "imagined", "paused", "new"],
)
def test_a_live_status_is_shown_with_its_conditions(status: dict[str, Any], lines: list[str]) -> None:
    assert explain.text(status) == lines
