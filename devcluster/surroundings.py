"""What this computer must be like for a cluster to run on it, and what to do where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from devcluster import binaries, cgroups, debian, paths
from devcluster.errors import DevclusterError

_BUILD_GIB = 8.0
_RUN_GIB = 3.0
_PRIVILEGED = "leave the container, or start it with --privileged"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The facts that decide.

    Attributes:
        platform: ``sys.platform``.
        uid: effective user id.
        cache: where binaries and images are kept.
        state: where running clusters keep their state.
        cache_gib: free space there.
        state_gib: free space there.
        built: whether Kubernetes has been built.
        go: version of Go; None where there is none.
        packages: Debian packages that are missing.
        apt: whether they can be installed.
        namespaces: whether root may make namespaces.
        cgroups: mount points of cgroup hierarchies that can be written.
    """

    platform: str
    uid: int
    cache: str
    state: str
    cache_gib: float
    state_gib: float
    built: bool
    go: tuple[int, ...] | None
    packages: tuple[str, ...]
    apt: bool
    namespaces: bool
    cgroups: tuple[str, ...]


def rights_problem(platform: str, uid: int) -> str | None:
    """What keeps this user from starting and stopping clusters. Pure."""
    if platform != "linux":
        return f"the dev cluster needs Linux, this is {platform}: run it on a Linux machine"
    if uid != 0:
        return "the dev cluster needs root, for namespaces and a bridge: run it with sudo"
    return None


def problem(facts: Surroundings) -> str | None:
    """What keeps a cluster from running, as one sentence that says what to do; None if nothing does. Pure."""
    needed = _RUN_GIB if facts.built else _BUILD_GIB
    if (sentence := rights_problem(facts.platform, facts.uid)) is not None:
        return sentence
    if facts.cache_gib < needed:
        return f"{facts.cache} has {facts.cache_gib:.1f} GiB free, {needed:g} are needed: make room or set RIVERMILL_CACHE"
    if facts.state_gib < _RUN_GIB:
        return f"{facts.state} has {facts.state_gib:.1f} GiB free, {_RUN_GIB:g} are needed: make room or set RIVERMILL_STATE"
    if not facts.namespaces:
        return f"this computer lets nobody make namespaces, as in a container: {_PRIVILEGED}"
    if not facts.cgroups:
        return f"no cgroup hierarchy can be written here, as in a container: {_PRIVILEGED}"
    if facts.packages and not facts.apt:
        return f"install {', '.join(facts.packages)} with this system's package manager: there is no apt-get here"
    if not facts.built and (facts.go is None or facts.go < binaries.GO_OLDEST):
        return binaries.go_problem(facts.go)
    return None


def check() -> None:
    """Make sure that a cluster can run here.

    Raises:
        DevclusterError: it cannot; the message is one sentence that says what to do.
    """
    _raise(problem(_look()))


def check_rights() -> None:
    """Make sure that this user may stop clusters here.

    Raises:
        DevclusterError: he may not; the message is one sentence that says what to do.
    """
    _raise(rights_problem(sys.platform, os.geteuid()))


def _raise(sentence: str | None) -> None:
    if sentence is not None:
        raise DevclusterError(sentence)


def _look() -> Surroundings:
    linux_root = sys.platform == "linux" and os.geteuid() == 0
    built = binaries.built()
    return Surroundings(
        platform=sys.platform,
        uid=os.geteuid(),
        cache=str(paths.cache()),
        state=str(paths.states()),
        cache_gib=_free_gib(paths.cache()),
        state_gib=_free_gib(paths.states()),
        built=built,
        go=None if built else binaries.go_version(),
        packages=tuple(debian.missing()),
        apt=shutil.which("apt-get") is not None,
        namespaces=linux_root and _can_unshare(),
        cgroups=tuple(h.target for h in cgroups.hierarchies() if os.access(h.target, os.W_OK)) if linux_root else (),
    )


def _free_gib(path: Path) -> float:
    """Free space at a path, or at what will hold it once it is made."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free / 2**30


def _can_unshare() -> bool:
    program = shutil.which("unshare")
    if program is None:  # its package will be installed
        return True
    command = [program, "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "true"]
    return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0
