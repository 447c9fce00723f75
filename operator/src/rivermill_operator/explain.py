"""``rivermill-operator explain``: why a fleet has the size it has, now or in a decision that was logged."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rivermill_operator.control.report import build_status
from rivermill_operator.kube.rest import Rest
from rivermill_operator.model import names
from rivermill_operator.plan import replay
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("jobqueue", nargs="?", metavar="NAMESPACE/NAME", help="the JobQueue, as it is in the cluster now")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="decide again what a log of the operator at level debug holds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Run the command.

    Raises:
        SettingsError: neither or both of NAMESPACE/NAME and ``--replay``, or a file that cannot be replayed.
        KubeError: the API server refused or did not answer.
    """
    if (options.jobqueue is None) is (options.replay is None):
        raise SettingsError("explain: give NAMESPACE/NAME, or --replay FILE")
    found = _replayed(options.replay) if options.replay else [await _live(options.jobqueue)]
    if options.json:
        sys.stdout.write("".join(json.dumps(status) + "\n" for status in found))
    else:
        sys.stdout.write("\n".join("\n".join(text(status)) for status in found) + "\n")
    return 0


async def _live(target: str) -> dict[str, Any]:
    namespace, slash, name = target.partition("/")
    if not slash:
        raise SettingsError(f"explain {target!r}: write NAMESPACE/NAME")
    rest = await Rest.connect()
    try:
        path = f"/apis/{names.GROUP}/{names.VERSION}/namespaces/{namespace}/{names.PLURAL}/{name}"
        status = (await rest.request("GET", path)).get("status") or {}
    finally:
        await rest.close()
    return _shown(target, status)


def _replayed(file: Path) -> list[dict[str, Any]]:
    try:
        saved = replay.from_text(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, replay.ReplayError) as error:
        raise SettingsError(f"--replay {file}: {error}") from None
    return [_status(inputs, inputs.decide()) for inputs in saved]


def _status(inputs: replay.Inputs, decided: Plan) -> dict[str, Any]:
    """What the operator showed of a decision, and what it wrote."""
    job_queue, stamp = inputs.job_queue, inputs.observed.utc.isoformat(timespec="seconds")
    status = build_status(job_queue, inputs.observed, decided, [], stamp)
    return _shown(f"{job_queue.namespace}/{job_queue.name}", status) | {"writes": _writes(decided)}


def _shown(target: str, status: Mapping[str, Any]) -> dict[str, Any]:
    return {"jobqueue": target} | {key: status[key] for key in _SHOWN if key in status}


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
    decision = status.get("decision") or {}
    lines = [decision.get("sentence") or "No decision has been made yet."]
    if decision.get("time"):
        lines[0] = f"{decision['time']} {lines[0]}"
    lines += _inputs(status)
    for term, replicas in (decision.get("terms") or {}).items():
        lines.append(f"  {term}: {replicas} replicas{' (the most)' if term == decision.get('won') else ''}")
    lines += [f"  limited by {bound}" for bound in decision.get("bounds") or []]
    lines += [f"  pending: {decision['pending']}"] if decision.get("pending") else []
    lines += [f"  {write}" for write in status.get("writes") or []]
    lines += [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in status.get("conditions") or []]
    return lines


def _inputs(status: Mapping[str, Any]) -> list[str]:
    """What the decision went by: pods, and of each queue what was seen and what had been learnt."""
    seen, learnt = (status.get("decision") or {}).get("inputs"), status.get("estimates") or {}
    if not seen:
        return []
    pods = f"  pods: {seen['ready']} ready, {seen['starting']} starting, {seen['draining']} draining"
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
