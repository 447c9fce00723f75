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
        ),
        filled=True,
    ),
    Case(
        "insert one by one",
        "insert",
        3_000,
        (Setup("rivermill", ""), Setup("river", "")),
        flags=("--batch=1",),
    ),
    Case(
        "insert 1,000 at once, with ids",
        "insert",
        100_000,
        (Setup("rivermill", "insert_many"), Setup("river", "InsertMany")),
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
        ),
        figure="call_p50_ms",
        lower=True,
        flags=("--rate=100",),
    ),
)
