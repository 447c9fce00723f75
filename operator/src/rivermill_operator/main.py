"""The operator's process: ``rivermill-operator run|explain|simulate|version``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

import kopf

from rivermill_operator import __version__, explain, handlers
from rivermill_operator.command_line import Parser, add_command
from rivermill_operator.control.lease import Elector
from rivermill_operator.control.loop import Ports
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.wake import Wakes
from rivermill_operator.health import Health, HealthServer
from rivermill_operator.kube.cache import Cache
from rivermill_operator.kube.client import KubeClient
from rivermill_operator.kube.installed import check_crd
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.logs import configure_logging
from rivermill_operator.metrics import Metrics
from rivermill_operator.settings import Settings, SettingsError
from rivermill_operator.simulate import cli
from rivermill_operator.store import history
from rivermill_operator.store.port import StoreError
from rivermill_operator.store.registry import Stores
from rivermill_operator.vital import vital

_EXIT_CODES = "Exit codes: 0 done, 1 failed for the reason given, 2 a wrong command line, setting or file, 130 interrupted."
_LAST_SECONDS = 5.0
_SYNC_SECONDS = 60.0


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="rivermill-operator", description="Scales worker fleets for JobQueues.", epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"rivermill-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_command(commands, "run", "run the operator; its settings are RIVERMILL_* variables of the environment")
    explain.add_arguments(add_command(commands, "explain", "say why a fleet has the size it has"))
    cli.add_arguments(add_command(commands, "simulate", "compare the operator's decisions with KEDA and the HPA"))
    add_command(commands, "version", "print the version")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        if options.command == "version":
            sys.stdout.write(f"rivermill-operator {__version__}\n")
            return 0
        if options.command == "simulate":
            return cli.run(options, lambda *asked: asyncio.run(history.read(*asked)))
        if options.command == "explain":
            return asyncio.run(explain.run(options))
        return asyncio.run(_run(Settings.load()))
    except (SettingsError, KubeError, StoreError) as error:
        sys.stderr.write(f"rivermill-operator: {error}\n")
        wrong = isinstance(error, SettingsError) or (isinstance(error, StoreError) and error.reason == "InvalidDatabaseURL")
        return 2 if wrong else 1
    except KeyboardInterrupt:
        return 130


async def _run(settings: Settings) -> int:
    configure_logging(settings.log_level, settings.log_format)
    rest = await Rest.connect()
    metrics, health = Metrics(), Health()
    try:
        server = HealthServer("", settings.http_port, health, metrics.registry, lambda: None)
    except OSError as error:
        raise SettingsError(f"RIVERMILL_HTTP_PORT {settings.http_port}: {error.strerror}; use a port that is free") from error
    stop = asyncio.Event()
    _heed_signals(stop)
    pulse = asyncio.create_task(_pulse(health), name="pulse")
    try:
        await check_crd(rest)
        health.ready()
        return await _lead(settings, rest, metrics, stop)
    finally:
        pulse.cancel()
        server.close()
        await rest.close()


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(settings: Settings, rest: Rest, metrics: Metrics, stop: asyncio.Event) -> int:
    """Wait for the lease, then operate until the process is told to stop; losing the lease ends the process."""
    elector = Elector(rest, settings.namespace, settings.lease_name, settings.instance)
    election = vital(elector.run(), "election")
    try:
        await _first(stop, elector.acquired)
        if not stop.is_set():
            metrics.leader.set(1)
            await _operate(settings, rest, metrics, stop)
    finally:
        # Whatever ended it, nothing writes any more.
        election.cancel()
        await asyncio.gather(election, return_exceptions=True)
        await elector.release()
    return 0


async def _operate(settings: Settings, rest: Rest, metrics: Metrics, stop: asyncio.Event) -> None:
    wakes = Wakes()
    kube = KubeClient(rest, wakes.wake, settings.instance, settings.namespaces)
    stores = Stores(wakes.wake)
    ports = Ports(kube, stores, wakes, metrics, Turns())
    caches = [vital(cache.run(), f"cache of {cache.path}") for cache in kube.caches]
    try:
        await _sync(kube.caches)
        await _handle(settings, ports, stop)
    finally:
        for task in caches:
            task.cancel()
        await asyncio.gather(*caches, return_exceptions=True)
        await stores.close()


async def _handle(settings: Settings, ports: Ports, stop: asyncio.Event) -> None:
    """Run kopf until the process is told to stop, or kopf ends."""
    registry = kopf.OperatorRegistry()
    handlers.register(registry, ports)
    kopf_settings = kopf.OperatorSettings()
    handlers.configure(kopf_settings)
    ended = asyncio.Event()

    async def run_kopf() -> None:
        existing = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=kopf_settings,
            standalone=True,
            # Without it kopf asks for a user name, which a numeric uid does not have.
            identity=settings.instance,  # type: ignore[arg-type]
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=ended,
        )
        # kopf has put its own answer in place of ours: it would wait for loops that nobody tells to end.
        _heed_signals(stop)
        await kopf.run_tasks(tasks, ignored=existing)

    operator = asyncio.create_task(run_kopf(), name="kopf")
    watch = asyncio.create_task(stop.wait(), name="stop watch")
    try:
        await asyncio.wait({operator, watch}, return_when=asyncio.FIRST_COMPLETED)
        ports.wakes.close()
        ended.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await asyncio.shield(operator)
        if operator.done():
            operator.result()
    finally:
        for task in (watch, operator):
            task.cancel()
        await asyncio.gather(watch, operator, return_exceptions=True)


async def _sync(caches: Sequence[Cache], seconds: float = _SYNC_SECONDS) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(cache.synced.wait() for cache in caches))
    except TimeoutError:
        missing = ", ".join(cache.path for cache in caches if not cache.synced.is_set())
        raise KubeError(0, f"{missing} could not be listed in {seconds:g} s: the log says why, often a missing right") from None


async def _pulse(health: Health) -> None:
    while True:
        health.alive()
        await asyncio.sleep(1.0)


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
