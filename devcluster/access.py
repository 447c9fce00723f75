"""What every cluster can do for tests, whoever made it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from devcluster import images, tools
from devcluster.errors import DevclusterError
from devcluster.processes import attempt


class AnyCluster(ABC):
    """A cluster that can be reached."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    @property
    @abstractmethod
    def host_address(self) -> str:
        """The address under which pods reach this computer."""

    @abstractmethod
    def load(self, *tags: str) -> None:
        """Bring built images to the nodes.

        Raises:
            DevclusterError: one has not been built, or cannot be brought there.
        """

    def build(self, tag: str, dockerfile: Path, context: Path, build_args: tuple[str, ...] = ()) -> bool:
        """Build an image unless nothing it is made from has changed; returns whether it was built."""
        return images.build(tag, dockerfile, context, build_args)

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster.

        Raises:
            DevclusterError: ``check`` is set and it failed, or it took longer than 180 s.
        """
        command = [str(tools.kubectl()), "--kubeconfig", str(self.kubeconfig), *arguments]
        return _checked(attempt(command, timeout=180, text=text), "kubectl", arguments, check=check)

    def helm(self, *arguments: str, major: int = 4, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm of a major version (3 or 4) against this cluster.

        Raises:
            DevclusterError: ``check`` is set and it failed, or it took longer than 300 s.
        """
        command = [str(tools.helm(major)), "--kubeconfig", str(self.kubeconfig), *arguments]
        return _checked(attempt(command, timeout=300), "helm", arguments, check=check)


def _checked(
    done: subprocess.CompletedProcess[str], program: str, arguments: tuple[str, ...], *, check: bool
) -> subprocess.CompletedProcess[str]:
    if check and done.returncode != 0:
        raise DevclusterError(f"{program} {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done
