"""``rivermill-operator explain``: why a fleet has the size it has, now or in a decision that was logged."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rivermill_operator.control.report import build_status
from rivermill_operator.kube import installed
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.model.times import stamp
from rivermill_operator.plan import replay
from rivermill_operator.plan.explain import count
from rivermill_operator.plan.plan import Plan
from rivermill_operator.settings import SettingsError

_SHOWN = (
    "desiredReplicas",
    "replicas",
    "readyReplicas",
    "backlog",
    "database",
    "estimates",
    "manual",
    "decision",
    "conditions",
)
_STDIN = Path("-")
_NAME = re.compile(r"[a-z0-9.-]+")
_MODES = {
    "Paused": "{name} is paused: its pods stay as they are, and nothing is read or decided until spec.mode is Scale.",
    "Observe": "{name} is only observed: this is what the operator would do, and it writes nothing.",
}
_NOT_DECIDED = "No decision has been made yet: see the log of the operator, and whether it watches this namespace."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "jobqueue", nargs="?", metavar="NAMESPACE/NAME", help="the JobQueue, as it is in the cluster now, or of the decisions"
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="decide again what a log of the operator at level debug holds; - is the standard input",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each decision")


async def run(options: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        SettingsError: neither NAMESPACE/NAME nor ``--replay``, or a file that cannot be replayed.
        KubeError: the API server refused or did not answer.
    """
    if options.jobqueue is None and options.replay is None:
        raise SettingsError("explain: give NAMESPACE/NAME of a JobQueue in the cluster, or --replay FILE")
    if options.jobqueue is not None:
        _check_name(options.jobqueue)
    found = [await _live(options.jobqueue)] if options.replay is None else _replayed(options.replay, options.jobqueue)
    if options.json:
        sys.stdout.write("".join(json.dumps(status) + "\n" for status in found))
    else:
        sys.stdout.write("\n".join("\n".join(text(status)) + "\n" for status in _with_news(found)))
    return 0


def _with_news(decisions: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each with the conditions that the one before it of the same JobQueue did not have: they are long, and seldom change."""
    last: dict[str, list[str]] = {}
    for status in decisions:
        conditions, before = status.get("conditions") or [], last.get(status["jobqueue"], [])
        last[status["jobqueue"]] = [_condition(one) for one in conditions]
        yield {**status, "conditions": [one for one in conditions if _condition(one) not in before]}


def _condition(condition: Mapping[str, Any]) -> str:
    return f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}"


def _check_name(target: str) -> None:
    parts = target.split("/")
    if len(parts) != 2 or not all(_NAME.fullmatch(part) for part in parts):  # noqa: PLR2004 - namespace and name
        raise SettingsError(f"explain {target!r}: write NAMESPACE/NAME; `kubectl get jobqueues -A` lists them")


async def _live(target: str) -> dict[str, Any]:
    rest = await Rest.connect()
    try:
        body = await installed.read(rest, *target.split("/"))
    except KubeError as error:
        if error.status or error.__cause__ is None:
            raise
        cause = " ".join(str(error.__cause__).split()) or type(error.__cause__).__name__
        raise KubeError(
            0, f"the API server cannot be asked: {cause}; see `kubectl cluster-info`, and set KUBECONFIG"
        ) from error
    finally:
        await rest.close()
    return _shown(target, body["spec"].get("mode", "Scale"), body.get("status") or {})


def _replayed(file: Path, target: str | None) -> list[dict[str, Any]]:
    try:
        saved = replay.from_text(sys.stdin.read() if file == _STDIN else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--replay {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"--replay {file}: {error.reason} at byte {error.start}; it is no log") from None
    except replay.ReplayError as error:
        raise SettingsError(f"--replay {file}: {error}") from None
    names = [f"{inputs.job_queue.namespace}/{inputs.job_queue.name}" for inputs in saved]
    if target is not None and target not in names:
        raise SettingsError(f"--replay {file}: it has no decision of {target}; it has some of {', '.join(sorted({*names}))}")
    return [_status(name, inputs) for name, inputs in zip(names, saved, strict=True) if target in (None, name)]


def _status(name: str, inputs: replay.Inputs) -> dict[str, Any]:
    """What the operator showed of a decision, and what it wrote."""
    decided = inputs.decide()
    status = build_status(inputs.job_queue, inputs.observed, decided, [], stamp(inputs.observed.utc))
    return _shown(name, inputs.job_queue.spec.mode.value, status) | {"writes": _writes(decided)}


def _shown(name: str, mode: str, status: Mapping[str, Any]) -> dict[str, Any]:
    return {"jobqueue": name, "mode": mode} | {key: status[key] for key in _SHOWN if key in status}


def _writes(decided: Plan) -> list[str]:
    """What the plan writes to the fleet, in words."""
    return [
        *(f"apply {item.name}" for item in decided.apply),
        *(f"{mark.verdict.value} {mark.deployment}" for mark in decided.verdicts),
        *(f"declare {client} dead" for client in decided.bury),
        *(f"uncordon {client}" for client in decided.uncordon),
        *(f"cordon {client}" for client in decided.cordon),
        *(f"deletion cost of {item.pod}: {item.cost}" for item in decided.deletion_costs),
        *(f"scale {item.deployment} to {item.replicas}" for item in decided.scales),
        *(f"delete {item.name}" for item in decided.deletions),
    ]


def text(status: Mapping[str, Any]) -> list[str]:
    """A decision in lines for people."""
    name, mode, decision = status["jobqueue"], status["mode"], status.get("decision") or {}
    lines = [_MODES[mode].format(name=name)] if mode in _MODES else []
    lines.append(f"{name} {decision['time']} {decision['sentence']}" if decision else f"{name}: {_NOT_DECIDED}")
    # Of a paused one the numbers are old.
    lines += _reasons(status, decision) if mode != "Paused" else []
    lines += [f"  {write}" for write in status.get("writes") or []]
    lines += [_condition(one) for one in status.get("conditions") or []]
    return lines


def _reasons(status: Mapping[str, Any], decision: Mapping[str, Any]) -> list[str]:
    lines = _inputs(status)
    for term, replicas in (decision.get("terms") or {}).items():
        lines.append(f"  {term}: {count(replicas, 'replica')}{' (the most)' if term == decision.get('won') else ''}")
    lines += [f"  bound: {bound}" for bound in decision.get("bounds") or []]
    lines += [f"  pending: {decision['pending']}"] if decision.get("pending") else []
    return lines


def _inputs(status: Mapping[str, Any]) -> list[str]:
    """What the decision went by: pods, and of each queue what was seen and what had been learnt."""
    seen, learnt = (status.get("decision") or {}).get("inputs"), status.get("estimates") or {}
    if not seen:
        return []
    pods = f"  pods: {seen['ready']} ready, {seen['starting']} starting, {seen['draining']} draining"
    if seen.get("imagined"):
        pods += f"; {seen['imagined']} imagined as ready: there is none, and the last decision would have made them"
    start = learnt.get("podStartSeconds")
    known = {queue["name"]: queue for queue in learnt.get("queues") or []}
    lines = [pods if start is None else f"{pods}; a pod starts in {start:g} s"]
    return lines + [_queue(queue, known.get(queue["name"])) for queue in seen["queues"]]


def _queue(seen: Mapping[str, Any], learnt: Mapping[str, Any] | None) -> str:
    parts = [f"{'at least ' if seen['bounded'] else ''}{seen['waiting']} waiting"]
    if seen["waiting"]:
        parts.append(f"the oldest for {seen['oldestSeconds']:g} s")
    parts += [f"{seen['running']} running", f"{seen['dueSoon']} due before a pod could start"]
    if learnt:
        parts.append(f"{learnt['arrivalsPerSecond']:g} jobs/s (lately {learnt['recentArrivalsPerSecond']:g})")
        parts.append(f"{learnt['jobSeconds']:g} s a job{'' if learnt['measured'] else ' (assumed)'}")
    parts += [f"at most {seen['concurrencyLimit']} at once"] if "concurrencyLimit" in seen else []
    parts += ["paused"] if seen["paused"] else []
    return f"  queue {seen['name']}: {', '.join(parts)}"
