"""The figures as a table, and the bars that they are held against. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_MB, MOST_CORES, MOST_SECONDS, MOST_CONNECTIONS = 300.0, 0.5, 1.0, 2
#: A status of each JobQueue every 15 s, and nothing else.
MOST_WRITES_A_JOB_QUEUE = 4.0


@dataclass(frozen=True)
class Bar:
    """One bar: what was found, in words, and whether it is met."""

    what: str
    bar: str
    found: str
    met: bool


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """Every bar of a run."""
    steady, reaction, scale = figures["steady"], figures["reaction"], figures["scale"]
    memory, cores = steady["rss_peak_of_run_mb"], steady["cpu_cores"]
    decided, opened = reaction["commit_to_decision_p95_seconds"], max(steady["connections_by_database"].values(), default=0)
    written = sum(steady["writes_per_minute"].values()) / (scale["databases"] * scale["job_queues"])
    return [
        Bar("memory, at most in the whole run", f"{MOST_MB:g} MB", f"{memory:g} MB", memory < MOST_MB),
        Bar("CPU, steady", f"{MOST_CORES:g} cores", f"{cores:g} cores", cores < MOST_CORES),
        Bar("jobs committed → decided, p95", f"{MOST_SECONDS:g} s", f"{decided:g} s", decided < MOST_SECONDS),
        Bar(
            "looks of at most 1 s, steady",
            "95 %",
            f"{100 * steady['step_within_1_second']:.1f} %",
            steady["step_within_1_second"] >= 0.95,
        ),
        Bar("connections to a database", f"{MOST_CONNECTIONS}", f"{opened}", opened <= MOST_CONNECTIONS),
        Bar(
            "writes a minute and JobQueue, steady",
            f"{MOST_WRITES_A_JOB_QUEUE:g}",
            f"{written:.2f}",
            written <= MOST_WRITES_A_JOB_QUEUE,
        ),
    ]


def table(figures: Mapping[str, Any]) -> str:
    """The bars and what else is worth knowing, as Markdown."""
    scale, warm, reaction, steady = (figures[part] for part in ("scale", "warm_up", "reaction", "steady"))
    lines = [
        f"{scale['databases'] * scale['job_queues']} JobQueues, {scale['databases']} databases, {steady['pods']} pods",
        "",
        "| what | bar | measured | |",
        "| --- | --- | --- | --- |",
        *(f"| {bar.what} | {bar.bar} | {bar.found} | {'met' if bar.met else 'missed'} |" for bar in bars(figures)),
        "",
        f"warm-up: {warm['seconds']} s, {warm['cpu_seconds']:.1f} s of the operator's CPU",
        _times("decided", reaction, "commit_to_decision"),
        _times("replicas written", reaction, "commit_to_replicas"),
        f"steady: {steady['decisions_per_second']} decisions/s, RSS at most {steady['rss_max_mb']} MB",
        f"the computer's {steady['machine_cores']} cores: {steady['machine_busy_cores']} busy",
        "writes a minute: " + ", ".join(f"{what} {count:g}" for what, count in steady["writes_per_minute"].items()),
    ]
    return "\n".join(lines)


def _times(what: str, reaction: Mapping[str, Any], name: str) -> str:
    median, late, most = (reaction[f"{name}_{part}_seconds"] for part in ("p50", "p95", "max"))
    return f"jobs committed → {what}: p50 {median} s, p95 {late} s, at most {most} s"
