"""Programs that come from Debian: the container runtime, its plugins, and what makes images."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

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
    search = f"{os.environ.get('PATH', '')}:{_PATH}"
    absent = [
        name for name in _NEEDED if not (Path(name).exists() if name.startswith("/") else shutil.which(name, path=search))
    ]
    return sorted({_NEEDED[name] for name in absent})


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
