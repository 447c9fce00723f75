"""Figures of the operator as others see it: /proc, its metrics, the API server's, and Postgres."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster import DevclusterError

_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
STEP = "rivermill_operator_step_seconds"
#: What the operator alone writes: resource and subresource.
_WRITES = {
    ("jobqueues", ""),
    ("jobqueues", "status"),
    ("deployments", "scale"),
    ("deployments", ""),
    ("poddisruptionbudgets", ""),
    ("pods", ""),
}
_VERBS = {"APPLY", "PATCH"}
CONNECTIONS = "SELECT datname, count(*)::int AS open FROM pg_stat_activity WHERE application_name = $1 GROUP BY 1"


@dataclass(frozen=True)
class Usage:
    """Of a process: seconds of CPU so far, resident memory now and at most, in MB of 1,000,000 bytes."""

    cpu_seconds: float
    rss_mb: float
    peak_mb: float


def usage(pid: int) -> Usage:
    """What a process has used.

    Raises:
        DevclusterError: it has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines())
    if "VmRSS" not in status:
        raise DevclusterError("the operator has ended: its log says why (--logs keeps it); a lost lease means too little CPU")
    rss, peak = (int(status[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), rss, peak)


def busy_seconds() -> float:
    """CPU time of all that runs on this computer."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def samples(text: str, prefix: str) -> list[tuple[str, dict[str, str], float]]:
    """The samples of metrics whose names begin so, as (name, labels, value)."""
    matches = (_LINE.match(line) for line in text.splitlines() if line.startswith(prefix))
    return [(match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])) for match in matches if match]


@dataclass(frozen=True)
class Steps:
    """The operator's steps so far: how many took at most so many seconds; the decisions made."""

    buckets: Mapping[float, float]
    decisions: float

    def since(self, before: Steps) -> Steps:
        """What has come since."""
        new = {bound: count - before.buckets.get(bound, 0.0) for bound, count in self.buckets.items()}
        return Steps(new, self.decisions - before.decisions)

    def at_most(self, share: float) -> float:
        """The bound of the bucket that this share of the steps stays within."""
        total = max(self.buckets.values(), default=0.0)
        return min((bound for bound, count in self.buckets.items() if count >= share * total), default=float("inf"))

    def within(self, seconds: float) -> float:
        """The share of the steps that took at most so long."""
        total = max(self.buckets.values(), default=0.0)
        return self.buckets.get(seconds, 0.0) / total if total else 1.0


def steps(port: int) -> Steps:
    """What the operator says of its steps."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    buckets = {float(labels["le"]): value for _, labels, value in samples(text, f"{STEP}_bucket")}
    return Steps(buckets, sum(value for _, _, value in samples(text, "rivermill_operator_decisions_total")))


def writes(metrics: str) -> dict[str, float]:
    """Requests of the API server that only the operator makes, Events and its Lease apart: what → how many."""
    found: dict[str, float] = {}
    for _, labels, value in samples(metrics, "apiserver_request_total{"):
        what = (labels.get("resource", ""), labels.get("subresource", ""))
        if what in _WRITES and labels.get("verb") in _VERBS:
            name = f"{labels['verb'].lower()} {'/'.join(filter(None, what))}"
            found[name] = found.get(name, 0.0) + value
    return found


def grown(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What has come since, without what has not."""
    return {name: value - before.get(name, 0.0) for name, value in after.items() if value > before.get(name, 0.0)}


async def connections(connection: Any) -> dict[str, int]:
    """Open connections of the operator, by database."""
    return {row["datname"]: row["open"] for row in await connection.fetch(CONNECTIONS, "rivermill-operator")}
