"""Programs that are built once from Go modules, with the sums that are recorded beside them, and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devcluster import DevclusterError, paths
from devcluster.binaries import GO_ENVIRONMENT, find_go
from devcluster.progress import say

_SECONDS = 3600.0


def environment() -> dict[str, str]:
    """What Go is run with."""
    return os.environ | GO_ENVIRONMENT


def build(name: str, source: Path, packages: Mapping[str, str], ldflags: str = "-s -w") -> Path:
    """The folder with the programs of a ``go.mod``, built where they are missing.

    Args:
        name: what the folder in the cache begins with.
        source: where ``go.mod`` and ``go.sum`` are.
        packages: file name of each program → its package.
        ldflags: for the linker.

    Raises:
        DevclusterError: there is no Go, or a build failed.
    """
    digest = hashlib.sha256(repr((sorted(packages.items()), ldflags)).encode())
    for file in ("go.mod", "go.sum"):
        digest.update((source / file).read_bytes())
    target = paths.cache() / f"{name}-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    partial.mkdir(exist_ok=True)
    for program, package in packages.items():
        say(f"building {program}, once and for all")
        command = [find_go(), "build", "-ldflags", ldflags, "-o", str(partial / program), package]
        done = subprocess.run(
            command, cwd=source, env=environment(), check=False, capture_output=True, text=True, timeout=_SECONDS
        )
        if done.returncode != 0:
            raise DevclusterError(f"building {program} failed:\n{done.stderr.strip()[-1500:]}")
    partial.rename(target)
    return target
