"""A node's own folder in every cgroup hierarchy: version 1, version 2, or both at once (hybrid)."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError

_SECONDS = 10.0
#: Options of a version 1 mount that name no controller.
_FLAGS = {"rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"}
#: Controllers that kubelet and runc put limits and counts into.
_WANTED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy.

    Attributes:
        target: where it is mounted.
        kind: ``cgroup`` (version 1) or ``cgroup2``.
        options: how it is mounted again inside a cgroup namespace.
    """

    target: str
    kind: str
    options: str


def parse_mounts(text: str) -> tuple[Hierarchy, ...]:
    """The hierarchies in the text of ``/proc/self/mounts``. Pure."""
    found = []
    for line in text.splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup":
            controllers = ",".join(o for o in options.split(",") if o not in _FLAGS and not o.startswith("release_agent="))
            # A hierarchy without controllers has a name, and must be told that it has none.
            found.append(Hierarchy(target, kind, ("none," if controllers.startswith("name=") else "") + controllers))
        elif kind == "cgroup2":
            found.append(Hierarchy(target, kind, "rw"))
    return tuple(dict.fromkeys(found))


def hierarchies() -> tuple[Hierarchy, ...]:
    """The hierarchies of this computer."""
    return parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8"))


def to_enable(available: str, enabled: str) -> tuple[str, ...]:
    """What is to be written to ``cgroup.subtree_control``, one controller at a time. Pure.

    Args:
        available: content of ``cgroup.controllers``.
        enabled: content of ``cgroup.subtree_control``.
    """
    there, done = available.split(), enabled.split()
    return tuple(f"+{controller}" for controller in _WANTED if controller in there and controller not in done)


def make(name: str) -> list[Path]:
    """Make the folder ``name`` in every hierarchy, ready for processes.

    Raises:
        DevclusterError: this computer's root group does not pass its controllers on.
    """
    folders = []
    for hierarchy in hierarchies():
        top = Path(hierarchy.target)
        if hierarchy.kind == "cgroup2":
            _enable(top)
        folder = top / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 lets no process in while these are empty
            if (
                hierarchy.kind == "cgroup"
                and (folder / file).exists()
                and not (folder / file).read_text(encoding="ascii").strip()
            ):
                (folder / file).write_text((top / file).read_text(encoding="ascii"), encoding="ascii")
        folders.append(folder)
    return folders


def delegate(name: str) -> None:
    """Let the processes in folder ``name`` make groups with limits below it.

    Version 2 wants processes in leaves only, so all that are there move into a leaf first; version 1 needs nothing.

    Raises:
        DevclusterError: they cannot be moved.
    """
    for hierarchy in hierarchies():
        if hierarchy.kind != "cgroup2":
            continue
        top = Path(hierarchy.target) / name
        leaf = top / "node"
        leaf.mkdir(exist_ok=True)
        deadline = time.monotonic() + _SECONDS
        while pids := (top / "cgroup.procs").read_text(encoding="ascii").split():
            for pid in pids:
                _move(pid, leaf)
            if time.monotonic() > deadline:
                raise DevclusterError(f"processes {', '.join(pids)} do not leave {top}: run `python -m devcluster down`")
        _enable(top)


def remove(name: str) -> None:
    """Remove the folder ``name`` from every hierarchy once the processes in it have ended.

    Raises:
        DevclusterError: some have not.
    """
    deadline = time.monotonic() + _SECONDS
    for hierarchy in hierarchies():
        top = Path(hierarchy.target) / name
        while top.exists() and time.monotonic() < deadline:
            _remove_tree(top)
            if top.exists():
                time.sleep(0.05)
        if top.exists():
            raise DevclusterError(f"{top} cannot be removed: end the processes in it, then run `python -m devcluster down`")


def _enable(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    available = (folder / "cgroup.controllers").read_text(encoding="ascii")
    for change in to_enable(available, control.read_text(encoding="ascii")):
        try:
            control.write_text(change, encoding="ascii")
        except OSError as error:
            raise DevclusterError(
                f"{control} does not take {change} ({error.strerror}): the processes in {folder} must be in groups below it, "
                "as systemd keeps them"
            ) from error


def _move(pid: str, folder: Path) -> None:
    try:
        (folder / "cgroup.procs").write_text(pid, encoding="ascii")
    except ProcessLookupError:  # it has ended meanwhile
        return


def _remove_tree(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:  # a process in it has not ended yet
            return
