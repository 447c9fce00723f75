"""One run: warm up, change the demand of half of the queues at once, then watch the steady state."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.operator import measure, world
from benchmarks.operator.api import Api
from benchmarks.operator.fleet import FakeFleet
from benchmarks.operator.measure import Steps, Usage
from benchmarks.operator.replicas import Replicas, grown_decisions
from devcluster import Cluster, DevclusterError, Postgres
from devcluster.progress import say
from rivermill_operator.simulate.outcome import percentile

_GROW_SECONDS = 900.0
_REACT_SECONDS = 60.0
_IDLE_SECONDS = 75.0
_SETTLE_SECONDS = 60.0
_SAMPLE_SECONDS = 1.0


class Fleets:
    """All pods as a client of the API server sees them, and the workers in them.

    Args:
        fakes: the workers, by namespace.
    """

    def __init__(self, fakes: Mapping[str, FakeFleet]) -> None:
        self._fakes = fakes
        self.ready: set[str] = set()

    def see_pod(self, kind: str, pod: Mapping[str, Any]) -> None:
        """A change of a pod."""
        meta = pod["metadata"]
        here = kind != "DELETED" and not meta.get("deletionTimestamp")
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())
        (self.ready.add if here and ready else self.ready.discard)(meta["uid"])
        self._fakes[meta["namespace"]].see(kind, pod)


async def until(check: Callable[[], bool], seconds: float, what: str, progress: Callable[[], str] | None = None) -> None:
    """Wait until it holds.

    Raises:
        DevclusterError: it does not.
    """
    begun = told = time.monotonic()
    while not check():
        now = time.monotonic()
        if now - begun > seconds:
            raise DevclusterError(f"{what}: not within {seconds:g} s{f', {progress()}' if progress else ''}")
        if progress and now - told > 15:
            told = now
            say(f"{what}: {progress()}")
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def background(*work: Any) -> AsyncIterator[None]:
    """Coroutines that run as long as this; one that fails ends all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(item) for item in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def run(
    cluster: Cluster,
    replicas: Replicas,
    postgres: Postgres,
    scale: world.Scale,
    steady_seconds: float,
    logs: Path,
    profile: Path | None,
) -> dict[str, Any]:
    """Run and return the figures.

    Args:
        cluster: with kwok.
        replicas: those written to it.
        postgres: with migrated databases.
        scale: how much of everything.
        steady_seconds: how long to measure the steady state.
        logs: where the operator's log goes.
        profile: where py-spy's profile of the steady state goes; it costs CPU.
    """
    async with Api(cluster.kubeconfig) as api:
        await world.make_nodes(api, scale.pods)
        await world.make_job_queues(api, scale, postgres)
        urls = {namespace: postgres.url(database=namespace) for namespace in scale.namespaces}
        fakes = {name: FakeFleet(api, url, scale.slots, scale.job_seconds) for name, url in urls.items()}
        fleets = Fleets(fakes)
        watch = api.follow("/api/v1/pods", world.MANAGED, fleets.see_pod)
        port = world.free_port()
        with world.operator(cluster, logs / "operator.log", port) as operator:
            async with background(watch, *(fake.run() for fake in fakes.values())):
                bench = _Bench(
                    api, replicas, logs / "operator.log", scale, fakes, fleets, operator.pid, port, next(iter(urls.values()))
                )
                warm = await bench.warm_up()
                # Else the first replicas set a thousand pods going at once, on the cores that write the other replicas.
                await asyncio.to_thread(cluster.restart_controller_manager, quick=False)
                # Pods that stay idle are marked for node autoscalers after a minute.
                await asyncio.sleep(_IDLE_SECONDS)
                reaction = await bench.react(lambda: cluster.restart_controller_manager(quick=True))
                flows = [fake.flow(scale.names(number)[: scale.hot]) for number, fake in enumerate(fakes.values())]
                async with background(*flows):
                    await asyncio.sleep(min(_SETTLE_SECONDS, steady_seconds))
                    steady = await bench.steady(steady_seconds, profile)
        return {"scale": asdict(scale) | {"pods": scale.pods}, "warm_up": warm, "reaction": reaction, "steady": steady}


class _Bench:
    """The three parts of a run."""

    def __init__(
        self,
        api: Api,
        replicas: Replicas,
        log: Path,
        scale: world.Scale,
        fakes: Mapping[str, FakeFleet],
        fleets: Fleets,
        pid: int,
        port: int,
        url: str,
    ) -> None:
        self._api, self._replicas, self._log, self._scale, self._fakes, self._fleets = api, replicas, log, scale, fakes, fleets
        self._pid, self._port, self._url = pid, port, url

    def _usage(self) -> Usage:
        return measure.usage(self._pid)

    def _progress(self) -> str:
        working = sum(fake.working for fake in self._fakes.values())
        used = self._usage()
        ready = len(self._fleets.ready)
        return f"{ready} pods Ready, {working} at work, operator {used.rss_mb:.0f} MB, {used.cpu_seconds:.0f} s CPU"

    async def _grow(self, pods: int) -> float:
        begun = time.monotonic()
        await until(
            lambda: len(self._fleets.ready) >= pods and sum(fake.working for fake in self._fakes.values()) >= pods,
            _GROW_SECONDS,
            f"{pods} pods",
            self._progress,
        )
        return time.monotonic() - begun

    async def warm_up(self) -> dict[str, Any]:
        """From nothing to the pods that every JobQueue has at least."""
        seconds = await self._grow(self._scale.first_pods)
        used = self._usage()
        return {"seconds": round(seconds, 1), "cpu_seconds": used.cpu_seconds, "peak_mb": round(used.peak_mb, 1)}

    async def react(self, make_pods_quickly: Callable[[], None]) -> dict[str, Any]:
        """Jobs for half of the queues in one moment: how long until each has its replicas written.

        Args:
            make_pods_quickly: called when that is measured.
        """
        scale = self._scale
        hot = {name: number for number in range(scale.databases) for name in scale.names(number)[: scale.hot]}
        before, steps = self._usage(), await self._steps()
        say(f"jobs for {len(hot)} queues at once")
        begun = time.time()
        ended = await asyncio.gather(
            *(fake.insert(scale.names(number)[: scale.hot], scale.burst) for number, fake in enumerate(self._fakes.values()))
        )
        await until(lambda: hot.keys() <= self._replicas.grown(begun).keys(), _REACT_SECONDS, "replicas of every hot queue")
        grown = self._replicas.grown(begun)
        await asyncio.to_thread(make_pods_quickly)
        times = [max(0.0, grown[name] - ended[number]) for name, number in hot.items()]
        taken = grown_decisions(self._log, begun)
        decided = [max(0.0, taken[name] - ended[number]) for name, number in hot.items()]
        seconds = await self._grow(scale.pods)
        used, made = self._usage(), (await self._steps()).since(steps)
        return {
            "queues": len(hot),
            "commit_to_decision_p50_seconds": round(percentile(decided, 0.5), 3),
            "commit_to_decision_p95_seconds": round(percentile(decided, 0.95), 3),
            "commit_to_decision_max_seconds": round(max(decided), 3),
            "commit_to_replicas_p50_seconds": round(percentile(times, 0.5), 3),
            "commit_to_replicas_p95_seconds": round(percentile(times, 0.95), 3),
            "commit_to_replicas_max_seconds": round(max(times), 3),
            "step_p95_at_most_seconds": made.at_most(0.95),
            "pods_ready_seconds": round(seconds, 1),
            "cpu_seconds": round(used.cpu_seconds - before.cpu_seconds, 2),
        }

    async def _steps(self) -> Steps:
        return await asyncio.to_thread(measure.steps, self._port)

    async def steady(self, seconds: float, profile: Path | None) -> dict[str, Any]:
        """So many seconds of constant demand."""
        say(f"{seconds:g} s of steady state")
        connection = await asyncpg.connect(self._url)
        try:
            writes, steps = measure.writes(await self._api.metrics()), await self._steps()
            before, busy, begun = self._usage(), measure.busy_seconds(), time.monotonic()
            resident, open_connections = [before.rss_mb], dict[str, int]()
            async with self._profiled(profile, seconds):
                while time.monotonic() - begun < seconds:
                    await asyncio.sleep(_SAMPLE_SECONDS)
                    resident.append(self._usage().rss_mb)
                    for name, count in (await measure.connections(connection)).items():
                        open_connections[name] = max(count, open_connections.get(name, 0))
            after, elapsed = self._usage(), time.monotonic() - begun
            made = (await self._steps()).since(steps)
            written = measure.grown(measure.writes(await self._api.metrics()), writes)
            waiting, running = await connection.fetchrow(
                "SELECT count(*) FILTER (WHERE state = 'available'), count(*) FILTER (WHERE state = 'running') FROM river_job"
            )
        finally:
            await connection.close()
        return {
            "seconds": round(elapsed, 1),
            "pods": len(self._fleets.ready),
            "waiting_jobs_of_one_database": waiting,
            "running_jobs_of_one_database": running,
            "cpu_cores": round((after.cpu_seconds - before.cpu_seconds) / elapsed, 3),
            "machine_busy_cores": round((measure.busy_seconds() - busy) / elapsed, 2),
            "machine_cores": os.cpu_count(),
            "rss_max_mb": round(max(resident), 1),
            "rss_peak_of_run_mb": round(after.peak_mb, 1),
            "connections_by_database": open_connections,
            "decisions_per_second": round(made.decisions / elapsed, 1),
            "step_p50_at_most_seconds": made.at_most(0.5),
            "step_p95_at_most_seconds": made.at_most(0.95),
            "step_within_1_second": round(made.within(1.0), 4),
            "writes_per_minute": {name: round(count / elapsed * 60, 1) for name, count in sorted(written.items())},
            "interrupted_jobs": sum(fake.interrupted for fake in self._fakes.values()),
        }

    @contextlib.asynccontextmanager
    async def _profiled(self, profile: Path | None, seconds: float) -> AsyncIterator[None]:
        if profile is None:
            yield
            return
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(self._pid), "--format", "raw",
                   "--rate", "50", "--duration", str(int(seconds) - 5), "--output", str(profile)]  # fmt: skip
        process = await asyncio.create_subprocess_exec(*command)
        yield
        await process.wait()
