"""What the options of ``simulate`` must be, together and each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from rivermill_operator.simulate.trace import LONGEST_DAYS, Fleet

#: As in the CRD.
_LEAST_GOAL, _MOST_GOAL = 0.1, 31_536_000.0
_MOST = 10_000
_OF_THE_FLEET = ("goal", "slots", "max_replicas")
_OF_THE_DATABASE = ("schema", "hours")


class OptionError(ValueError):
    """The command line is wrong; the message names the option, its value and the way out."""


def check_seeds(options: argparse.Namespace) -> None:
    """Raises OptionError."""
    if options.seeds < 1:
        raise OptionError(f"--seeds {options.seeds}: at least 1")


def check_workloads(named: Sequence[str], known: Collection[str]) -> None:
    """Raises OptionError."""
    for index, name in enumerate(named):
        if name not in known:
            raise OptionError(f"workload {name!r} is not known; there are {', '.join(known)}")
        if name in named[:index]:
            raise OptionError(f"workload {name!r} is there twice: name it once, and take --seeds 2 for more runs of it")


def refuse_what_goes_unused(options: argparse.Namespace) -> None:
    """An option that would change nothing is a misunderstanding; raises OptionError."""
    given = [bool(options.workloads), options.trace is not None, options.from_database is not None]
    if sum(given) > 1:
        raise OptionError("give one of WORKLOAD, --trace and --from-database")
    if options.from_database is None and (unused := _given(options, _OF_THE_DATABASE)):
        raise OptionError(f"{unused[0]} is of --from-database: use it with that, or leave it out")
    own = options.trace is not None or options.from_database is not None
    if own and options.check:
        raise OptionError(
            "--check is of the reference workloads, for which its bars are set: leave it out with jobs of your own"
        )
    if not own and (unused := _given(options, _OF_THE_FLEET)):
        which = (
            "a reference workload has"
            if options.workloads
            else "without jobs of your own the reference workloads run, which have"
        )
        raise OptionError(
            f"{unused[0]} changes nothing: {which} goals, slots and bounds already; "
            "use it with jobs of your own (--trace or --from-database), or leave it out"
        )


def _given(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]


def fleet(options: argparse.Namespace) -> Fleet:
    """What the options say of the ``JobQueue``; raises OptionError."""
    goals = _goals(options.goal or ())
    return Fleet(goals.pop("", 30.0), goals, _count(options, "slots", 10), _count(options, "max_replicas", 100))


def _count(options: argparse.Namespace, name: str, default: int) -> int:
    value = getattr(options, name)
    if value is None:
        return default
    if not 1 <= value <= _MOST:
        raise OptionError(f"--{name.replace('_', '-')} {value}: from 1 to {_MOST}")
    return int(value)


def _goals(texts: Sequence[str]) -> dict[str, float]:
    """Seconds by queue; under the empty name those of all others."""
    goals: dict[str, float] = {}
    for text in texts:
        queue, sign, seconds = text.rpartition("=")
        if sign and not queue:
            raise OptionError(
                f"--goal {text!r}: no queue is named; write --goal {seconds or '30'} for all, or such as emails=5"
            )
        try:
            goal = float(seconds)
        except ValueError:
            goal = 0.0
        if not _LEAST_GOAL <= goal <= _MOST_GOAL:
            raise OptionError(f"--goal {text!r}: write seconds of {_LEAST_GOAL:g} at least, such as 30 or emails=5")
        if queue in goals:
            raise OptionError(f"--goal {text!r}: the goal of {f'queue {queue!r}' if queue else 'all queues'} is there twice")
        goals[queue] = goal
    return goals


def hours(options: argparse.Namespace) -> float:
    """How far back to look; raises OptionError."""
    if options.hours is None:
        return 24.0
    if not 0 < options.hours <= LONGEST_DAYS * 24:
        raise OptionError(f"--hours {options.hours:g}: above 0, and at most {LONGEST_DAYS * 24} ({LONGEST_DAYS} days)")
    return float(options.hours)


def check_places(options: argparse.Namespace) -> None:
    """What will be written can be, before minutes are spent on it; makes missing folders, and raises OptionError."""
    if options.json:
        _make("--json", options.json, options.json.parent)
        if options.json.is_dir():
            raise OptionError(f"--json {options.json}: is a folder; name a file")
    if options.plots:
        _make("--plots", options.plots, options.plots)


def _make(option: str, path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{option} {path}: folder {folder} cannot be made: {error.strerror}") from None
    place = path if path.exists() else folder
    if not os.access(place, os.W_OK):
        raise OptionError(f"{option} {path}: {place} may not be written to")
