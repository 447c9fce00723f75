"""What is measured beside other systems: each as its own documentation advises, and at its defaults."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Setup:
    """One system with one choice of settings.

    Attributes:
        settings: as they are printed.
        flags: what its driver is told.
        jobs: fewer than the case's, for the slow ones.
        made: what its driver is told when it makes and fills the tables.
        history: finished jobs that are in the table before.
        old_snapshot: whether a transaction is open all the time that has begun before.
    """

    system: str
    settings: str
    flags: tuple[str, ...] = ()
    jobs: int | None = None
    made: tuple[str, ...] = ()
    history: int = 0
    old_snapshot: bool = False

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

        def times(count: int) -> int:
            return max(1, round(count * scale))

        setups = tuple(
            replace(s, jobs=times(s.jobs) if s.jobs else None, history=times(s.history) if s.history else 0)
            for s in self.setups
        )
        return replace(self, jobs=times(self.jobs), setups=setups)

    def only(self, systems: str, settings: str = "") -> Case:
        """The same with only those setups that have one of these in the name of their system, and in their settings.

        Args:
            systems: several with commas between; all where it is empty.
            settings: likewise.
        """

        def named(setup: Setup) -> bool:
            return _one_in(systems, setup.system) and _one_in(settings, setup.settings)

        return replace(self, setups=tuple(setup for setup in self.setups if named(setup)))

    def without(self, systems: Collection[str]) -> Case:
        """The same without these systems."""
        return replace(self, setups=tuple(setup for setup in self.setups if setup.system not in systems))


def _one_in(parts: str, text: str) -> bool:
    return any(part in text for part in parts.split(","))


#: Its worker writes outcomes once a second by default, and names the attribute that changes it.
_OUTGOING = ("--outgoing-interval=0.01",)
#: As graphile-worker's page on performance has it.
_BATCHED = ("--local-queue=500", "--delay=0")
#: What awa's page on configuration advises for a queue that is very busy.
_PARTITIONS = ("--queues=4",)
_AWA_SLEEPS = ("--slots=100", "--sleep=0.01", *_PARTITIONS)
#: As pgqueuer's pages advise where throughput counts; they advise one connection, too, which is measured as well.
_POOL = ("--pool=20",)
#: It needs a limit of two batches.
_HUNDRED = ("--slots=50", "--most-at-once=100", "--sleep=0.01")
#: Its own setting that keeps the queue as durable as it was, and its log of finished jobs and its statistics not.
_BALANCED = ("--storage=balanced",)
#: The ceiling has the head start that our best setup has: its clock begins when the first jobs have been claimed, too.
_CEILING = ("--ceiling", "--first-claim=4000")
#: 200 a second with these keep 50 of 100 slots busy.
_SLEEPS, _GO_SLEEPS = ("--slots=100", "--sleep=0.25"), ("--slots=100", "--sleep=250ms")
_TUNED = ("--cooldown=1ms", "--poll=100ms", "--pool=10")
#: As River's own benchmark has it, beside 2,000 workers.
_AS_ITS_BENCH = ("--cooldown=2ms", "--poll=20ms", "--pool=10")

#: As docs/worker.md advises for a busy queue where nobody searches jobs by args or metadata, nor lists those of a kind.
WITHOUT_GIN, WITHOUT_SEARCH = ("--storage=without-gin",), ("--storage=without-gin,without-kind",)
LEAN = ("--storage=tuned,without-gin,without-kind",)

CASES = (
    Case(
        "drain of no-op jobs",
        "drain",
        100_000,
        (
            Setup("rivermill", "1000 slots", ("--slots=1000",)),
            Setup("rivermill", "4000 slots", ("--slots=4000",)),
            Setup("statements alone", "batches of 1000", ("--slots=1000", *_CEILING)),
            Setup("statements alone", "batches of 2000", ("--slots=2000", *_CEILING)),
            Setup("statements alone", "batches of 4000", ("--slots=4000", *_CEILING)),
            Setup("river", "1000 workers, cooldown 1 ms", ("--slots=1000", *_TUNED)),
            Setup("river", "2000 workers, cooldown 1 ms", ("--slots=2000", *_TUNED)),
            Setup("river", "4000 workers, cooldown 1 ms", ("--slots=4000", *_TUNED)),
            Setup("river", "2000 workers, as in its own benchmark", ("--slots=2000", *_AS_ITS_BENCH)),
            Setup("rivermill", "100 slots, all defaults", ("--slots=100",)),
            Setup("rivermill", "100 slots, the command rivermill work, probed and scraped", ("--slots=100", "--command")),
            Setup("river", "100 workers, all defaults", ("--slots=100",), jobs=5_000),
            Setup("pgqueuer", "batch 1000, one connection", ("--slots=1000",)),
            Setup("pgqueuer", "batch 1000, pool", ("--slots=1000", *_POOL)),
            Setup("pgqueuer", "batch 2000, pool", ("--slots=2000", *_POOL)),
            Setup("pgqueuer", "batch 10, its default", ("--slots=10",), jobs=10_000),
            Setup("chancy", "1000 at once, eager", ("--slots=1000",), jobs=10_000),
            Setup("chancy", "1000 at once, eager, outcomes every 10 ms", ("--slots=1000", *_OUTGOING), jobs=10_000),
            Setup("oban", "limit 1000", ("--slots=1000",), jobs=5_000),
            Setup("oban", "limit 100", ("--slots=100",), jobs=5_000),
            Setup("oban", "limit 10, its default", ("--slots=10",), jobs=2_000),
            Setup("procrastinate", "concurrency 10", ("--slots=10",), jobs=1_000),
            Setup("procrastinate", "concurrency 1, its default", ("--slots=1",), jobs=500),
            Setup("awa", "1000 workers on 4 partitions", ("--slots=1000", *_PARTITIONS), jobs=50_000, made=_PARTITIONS),
            Setup("awa", "50 workers, its defaults", ("--slots=50",), jobs=5_000),
            Setup("graphile-worker", "24 at once, batches of 500", ("--slots=24", *_BATCHED)),
            Setup("graphile-worker", "24 at once, else its defaults", ("--slots=24",), jobs=10_000),
        ),
        filled=True,
    ),
    Case(
        "drain of no-op jobs, tables tuned",
        "drain",
        100_000,
        (
            Setup("rivermill", "1000 slots", ("--slots=1000",), made=LEAN),
            Setup("rivermill", "4000 slots", ("--slots=4000",), made=LEAN),
            Setup("statements alone", "batches of 1000", ("--slots=1000", *_CEILING), made=LEAN),
            Setup("statements alone", "batches of 2000", ("--slots=2000", *_CEILING), made=LEAN),
            Setup("statements alone", "batches of 4000", ("--slots=4000", *_CEILING), made=LEAN),
            Setup("river", "2000 workers, as in its own benchmark", ("--slots=2000", *_AS_ITS_BENCH), made=LEAN),
            Setup("river", "4000 workers, cooldown 1 ms", ("--slots=4000", *_TUNED), made=LEAN),
            Setup("rivermill", "4000 slots, only GIN indexes dropped", ("--slots=4000",), made=WITHOUT_GIN),
            *(
                Setup(
                    "statements alone",
                    f"batches of {size}, only GIN indexes dropped",
                    (f"--slots={size}", *_CEILING),
                    made=WITHOUT_GIN,
                )
                for size in (1000, 2000, 4000)
            ),
            Setup(
                "river",
                "4000 workers, cooldown 1 ms, only GIN indexes dropped",
                ("--slots=4000", *_TUNED),
                made=WITHOUT_GIN,
            ),
            Setup("pgqueuer", "batch 1000, one connection", ("--slots=1000",)),
            Setup("pgqueuer", "batch 1000, pool", ("--slots=1000", *_POOL)),
            Setup("pgqueuer", "batch 2000, pool", ("--slots=2000", *_POOL)),
            Setup("pgqueuer", "batch 1000, pool, balanced durability", ("--slots=1000", *_POOL), made=_BALANCED),
            Setup("pgqueuer", "batch 2000, pool, balanced durability", ("--slots=2000", *_POOL), made=_BALANCED),
            Setup("graphile-worker", "24 at once, batches of 500", ("--slots=24", *_BATCHED)),
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
            Setup("pgqueuer", "batch 50, at most 100 at once, one connection", _HUNDRED),
            Setup("pgqueuer", "batch 50, at most 100 at once, pool", (*_HUNDRED, *_POOL)),
            Setup("awa", "100 workers on 4 partitions", _AWA_SLEEPS, jobs=4_000, made=_PARTITIONS),
            Setup("graphile-worker", "100 at once, batches of 500", ("--slots=100", "--sleep=0.01", *_BATCHED)),
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
            Setup("awa", ""),
            Setup("graphile-worker", ""),
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
            Setup("graphile-worker", "addJobs"),
        ),
        flags=("--batch=1000",),
    ),
    Case(
        "insert 1,000 at once, by COPY",
        "insert",
        100_000,
        (
            Setup("rivermill", "insert_many_fast", ("--fast",)),
            Setup("river", "InsertManyFast", ("--fast",)),
            Setup("awa", "enqueue_many_copy"),
        ),
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
            Setup("awa", "50 workers, its defaults", ("--slots=50",)),
            Setup("graphile-worker", "24 at once, else its defaults", ("--slots=24",)),
        ),
        figure="call_p50_ms",
        lower=True,
        flags=("--rate=100",),
    ),
    Case(
        "insert to start, idle, 500 a second",
        "latency",
        2_500,
        (
            Setup("rivermill", "all defaults"),
            Setup("river", "cooldown 1 ms", _TUNED),
            Setup("pgqueuer", "batch 10, its default", ("--slots=10",)),
        ),
        figure="call_p50_ms",
        lower=True,
        flags=("--rate=500",),
    ),
    Case(
        "insert to start, half of the slots busy, 200 a second",
        "latency",
        2_000,
        (
            Setup("rivermill", "100 slots, all defaults", _SLEEPS),
            Setup("river", "100 workers, cooldown 1 ms", (*_GO_SLEEPS, *_TUNED)),
            Setup("river", "100 workers, all defaults", _GO_SLEEPS),
            Setup("pgqueuer", "batch 100", _SLEEPS),
            Setup("chancy", "100 at once, eager", _SLEEPS),
            Setup("oban", "limit 100", _SLEEPS),
            Setup("procrastinate", "concurrency 100", _SLEEPS, jobs=500),
            Setup("awa", "100 workers", _SLEEPS),
            Setup("graphile-worker", "100 at once, else its defaults", _SLEEPS),
        ),
        figure="call_p50_ms",
        lower=True,
        flags=("--rate=200",),
    ),
)
