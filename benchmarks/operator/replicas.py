"""When more replicas were decided on, by the operator's log, and written, by the API server's audit log.

A watch tells it as late as its server and its reader are busy.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

_SCALE = {"group": "apps", "resources": ["deployments/scale"]}
_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Request", "verbs": ["patch"], "resources": [_SCALE]}, {"level": "None"}],
}
_OK = 200


class Replicas:
    """The writes of replicas to an API server that is started with these ``options``.

    Args:
        directory: where its policy and its log are.
    """

    def __init__(self, directory: Path) -> None:
        self._log = directory / "audit.log"
        policy = directory / "audit-policy.json"
        policy.write_text(json.dumps(_POLICY), encoding="ascii")
        self.options = (f"--audit-policy-file={policy}", f"--audit-log-path={self._log}")

    def grown(self, since: float) -> dict[str, float]:
        """JobQueues whose replicas grew, and when the first such write was done; both times in seconds since 1970."""
        replicas, grown = dict[str, int](), dict[str, float]()
        with self._log.open(encoding="utf-8") as log:
            for event in map(json.loads, filter(str.strip, log)):
                if event["responseStatus"]["code"] != _OK:
                    continue
                name = event["objectRef"]["name"].rpartition("-")[0]
                wanted, at = event["requestObject"]["spec"]["replicas"], datetime.fromisoformat(event["stageTimestamp"])
                if wanted > replicas.get(name, 0) and at.timestamp() >= since:
                    grown.setdefault(name, at.timestamp())
                replicas[name] = wanted
        return grown


def grown_decisions(log: Path, since: float) -> dict[str, float]:
    """JobQueues for which the operator's log has a decision for more pods, and when the first was taken.

    Args:
        log: the operator's.
        since: seconds since 1970, as what is returned.
    """
    desired, grown = dict[str, int](), dict[str, float]()
    with log.open(encoding="utf-8") as lines:
        for line in map(json.loads, filter(_is_decision, lines)):
            name, wanted = line["jobqueue"].rpartition("/")[2], line["decision"]["desired_replicas"]
            at = datetime.fromisoformat(line["time"]).timestamp()
            if wanted is not None and wanted > desired.get(name, 0) and at >= since:
                grown.setdefault(name, at)
            desired[name] = wanted or 0
    return grown


def _is_decision(line: str) -> bool:
    return line.startswith("{") and '"message": "decision"' in line
