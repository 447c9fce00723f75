"""What is measured, and with which settings: each system as its own documentation advises, and at its defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Setup:
    """One system with one choice of settings.

    Attributes:
        settings: as they are printed.
        flags: what its driver is told.
        jobs: fewer than the case's, for the slow ones.
    """

    system: str
    settings: str
    flags: tuple[str, ...] = ()
    jobs: int | None = None

    @property
    def label(self) -> str:
        """What tells it from the others of its case."""
        return f"{self.system}, {self.settings}" if self.settings else self.system


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        mode: of the drivers.
        figure: the one that ratios are made of.
        lower: whether less of it is better.
    """

    name: str
    mode: str
    jobs: int
    setups: tuple[Setup, ...]
    figure: str = "per_second"
    lower: bool = False
    flags: tuple[str, ...] = ()
    filled: bool = False

    def scaled(self, scale: float) -> Case:
        """The same with so many times as many jobs."""
        setups = tuple(replace(s, jobs=max(1, round(s.jobs * scale)) if s.jobs else None) for s in self.setups)
        return replace(self, jobs=max(1, round(self.jobs * scale)), setups=setups)

    def only(self, systems: str) -> Case:
        """The same with only those setups whose system has one of these in its name."""
        wanted = systems.split(",")
        return replace(self, setups=tuple(s for s in self.setups if any(name in s.system for name in wanted)))


_TUNED = ("--cooldown=1ms", "--poll=100ms", "--pool=10")

CASES = (
    Case(
        "drain of no-op jobs",
        "drain",
        100_000,
        (
            Setup("rivermill", "1000 slots", ("--slots=1000",)),
            Setup("statements alone", "batches of 1000", ("--slots=1000", "--ceiling")),
            Setup("river", "1000 workers, cooldown 1 ms", ("--slots=1000", *_TUNED)),
            Setup("rivermill", "100 slots, all defaults", ("--slots=100",)),
            Setup("statements alone", "batches of 100", ("--slots=100", "--ceiling")),
            Setup("river", "100 workers, all defaults", ("--slots=100",), jobs=5_000),
            Setup("pgqueuer", "batch 1000", ("--slots=1000",), jobs=50_000),
            Setup("pgqueuer", "batch 10, its default", ("--slots=10",), jobs=10_000),
            Setup("chancy", "1000 at once, eager", ("--slots=1000",), jobs=10_000),
            Setup("oban", "limit 100", ("--slots=100",), jobs=5_000),
            Setup("procrastinate", "concurrency 10", ("--slots=10",), jobs=1_000),
        ),
        filled=True,
    ),
    Case(
        "drain of jobs of 10 ms",
        "drain",
        20_000,
        (
            Setup("rivermill", "100 slots", ("--slots=100", "--sleep=0.01")),
            Setup("river", "100 workers, cooldown 1 ms", ("--slots=100", "--sleep=10ms", *_TUNED)),
            Setup("pgqueuer", "batch 100", ("--slots=100", "--sleep=0.01")),
        ),
        filled=True,
    ),
    Case(
        "insert one by one",
        "insert",
        3_000,
        (
            Setup("rivermill", ""),
            Setup("river", ""),
            Setup("pgqueuer", ""),
            Setup("chancy", "", jobs=1_000),
            Setup("oban", "", jobs=1_000),
            Setup("procrastinate", "", jobs=1_000),
        ),
        flags=("--batch=1",),
    ),
    Case(
        "insert 1,000 at once, with ids",
        "insert",
        100_000,
        (
            Setup("rivermill", "insert_many"),
            Setup("river", "InsertMany"),
            Setup("pgqueuer", "enqueue"),
            Setup("chancy", "push_many", jobs=10_000),
            Setup("oban", "enqueue_many", jobs=10_000),
            Setup("procrastinate", "batch_defer", jobs=20_000),
        ),
        flags=("--batch=1000",),
    ),
    Case(
        "insert 1,000 at once, by COPY",
        "insert",
        100_000,
        (Setup("rivermill", "insert_many_fast", ("--fast",)), Setup("river", "InsertManyFast", ("--fast",))),
        flags=("--batch=1000",),
    ),
    Case(
        "insert to start, idle, 100 a second",
        "latency",
        500,
        (
            Setup("rivermill", "all defaults"),
            Setup("river", "cooldown 1 ms", _TUNED),
            Setup("river", "all defaults"),
            Setup("pgqueuer", "batch 10, its default", ("--slots=10",)),
            Setup("chancy", "eager"),
            Setup("oban", "limit 100"),
            Setup("procrastinate", "concurrency 10", ("--slots=10",)),
        ),
        figure="call_p50_ms",
        lower=True,
        flags=("--rate=100",),
    ),
)
