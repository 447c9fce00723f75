"""Programs that come from Debian: the container runtime, its plugins, what makes images, and what tests ask for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from devcluster.errors import DevclusterError
from devcluster.progress import say

#: Program or file → the package that brings it.
_NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}
_PATH = "/usr/sbin:/sbin"


def missing() -> list[str]:
    """Packages that are still to be installed."""
    return sorted({_NEEDED[name] for name in _NEEDED if find(name) is None})


def find(program: str) -> str | None:
    """Where a program is, by its name or its path; None if it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_PATH}")


def program(name: str, package: str | None = None) -> str:
    """Where a program is, which is installed if it is missing.

    Args:
        name: its name or its path.
        package: what brings it; None is a package of its name.

    Raises:
        DevclusterError: it cannot be installed, or its package has no such program.
    """
    if find(name) is None:
        install([package or name])
    found = find(name)
    if found is None:
        raise DevclusterError(f"package {package or name} has no {name}")
    return found


def prepare() -> None:
    """Install what is missing.

    Raises:
        DevclusterError: this is not Debian, or apt failed.
    """
    packages = missing()
    if packages:
        install(packages)


def install(packages: Sequence[str]) -> None:
    """Install packages of Debian.

    Args:
        packages: their names.

    Raises:
        DevclusterError: this is not Debian, or apt failed.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise DevclusterError(f"install {', '.join(packages)} with this system's package manager: there is no apt-get here")
    say(f"installing {', '.join(packages)}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt, "update", "-q"], [apt, "install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise DevclusterError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
