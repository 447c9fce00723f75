"""``rivermill work APP``: run an application's workers until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import inspect
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from rivermill.client import Client
from rivermill.command_line import add_command
from rivermill.config import load_settings
from rivermill.errors import ConfigError, RivermillError
from rivermill.logs import configure_logging
from rivermill.worker import Workers

logger = logging.getLogger("rivermill")

_IMPORTING = (__file__, importlib.__file__)


def add_work_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``work``."""
    parser = add_command(commands, "work", "work jobs until SIGTERM, SIGINT or SIGHUP", parents=[shared])
    parser.add_argument("app", metavar="APP", help="module:attribute of a Workers, or of a function that returns one")
    parser.set_defaults(run=work)


async def work(options: argparse.Namespace) -> int:
    """Work until SIGTERM, SIGINT or SIGHUP; the second signal gives running jobs back at once, unless it is a SIGHUP.

    Does not return where jobs go on although they were given up: it ends the process, with code 1.

    Raises:
        RivermillError: a setting or the application is wrong, or a part of the client died.
    """
    configure_logging(os.environ.get("RIVER_LOG_LEVEL", "info"), os.environ.get("RIVER_LOG_FORMAT", "plain"))
    starting = asyncio.create_task(_start(options), name="start")
    stops: set[asyncio.Task[None]] = set()

    def on_signal(number: signal.Signals) -> None:
        if not starting.done():
            starting.cancel()
        elif stops and number is signal.SIGHUP:
            return  # a terminal's end sends it twice: its shell does, and the kernel when that has ended
        elif not starting.cancelled() and starting.exception() is None:
            stops.add(asyncio.create_task(starting.result().stop(cancel=bool(stops)), name="stop"))

    # Before anything else: the first process of a container ignores signals that it has no handler for.
    for number in _stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    await asyncio.wait([starting])
    if starting.cancelled():
        logger.info("stopped before the client had started")
        return 0
    client = starting.result()
    try:
        await client.stopped()
    finally:
        await client.stop()
        await asyncio.gather(*stops)
        if client.left_running:
            _end_process()
    return 0


def _stop_signals() -> list[signal.Signals]:
    """SIGHUP comes when a terminal is closed, and is ignored from the start under nohup."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


async def _start(options: argparse.Namespace) -> Client:
    settings = load_settings(dsn=options.dsn, schema=options.schema, file=options.config)
    workers = await load_app(options.app)
    if not settings.queues:
        raise ConfigError("no queue to work: set RIVER_QUEUES, e.g. default:10, or jobs.river.queues in the file of --config")
    client = Client(
        workers=workers,
        dsn=settings.dsn,
        queues=settings.queues,
        schema=settings.schema,
        file=options.config,
        client_id=settings.client_id,
    )
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


def _end_process() -> None:
    """End at once: the interpreter would wait for threads, and the loop for tasks, that others rescue the jobs of meanwhile."""
    logger.error("the process ends, and with it the jobs that go on")
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone must not keep the process
            stream.flush()
    os._exit(1)


async def load_app(name: str) -> Workers:
    """Import the workers that ``module:attribute`` names.

    Raises:
        ConfigError: there is no such module or attribute, or it is something else.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"APP {name!r}: write module:attribute, e.g. library.jobs:workers")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        app = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        place = _place(error)
        raise ConfigError(
            f"APP {name!r}: cannot import {module_name}: {error}{f', imported in {place}' if place else ''}"
        ) from error
    except SystemExit as error:
        raise _exited(name, f"importing {module_name}", error) from error
    except AttributeError as error:
        if error.obj is not sys.modules.get(module_name):
            raise _failed(name, f"importing {module_name}", error) from error
        raise ConfigError(f"APP {name!r}: module {module_name} has no {attribute}") from error
    except Exception as error:
        raise _failed(name, f"importing {module_name}", error) from error
    if callable(app) and not isinstance(app, Workers):
        app = await _call(name, app)
    if not isinstance(app, Workers) or not app:
        raise ConfigError(f"APP {name!r}: must be a rivermill.Workers with at least one worker, or a function returning one")
    return app


async def _call(name: str, factory: Callable[[], Any]) -> Any:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConfigError(
            f"APP {name!r}: cannot be called without arguments ({error}): name a rivermill.Workers, "
            "or a function without parameters that returns one"
        ) from error
    try:
        made = factory()
        return await made if inspect.isawaitable(made) else made
    except RivermillError:
        raise
    except SystemExit as error:
        raise _exited(name, "calling it", error) from error
    except Exception as error:
        raise _failed(name, "calling it", error) from error


def _exited(name: str, what: str, error: SystemExit) -> ConfigError:
    return ConfigError(
        f"APP {name!r}: {what} called sys.exit({error.code!r}) in {_place(error)}; leave out what ends the process"
    )


def _place(error: BaseException) -> str:
    """File and line that raised it, none of which are those of the import itself; empty where there is no other."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename not in _IMPORTING and not f.filename.startswith("<frozen importlib")]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else ""


def _failed(name: str, what: str, error: Exception) -> ConfigError:
    """The application's own trouble, whose traceback goes to the log."""
    logger.error("the application cannot be loaded", exc_info=error)
    return ConfigError(f"APP {name!r}: {what} failed: {type(error).__name__}: {error}")
