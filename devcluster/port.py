"""What the demo, the benchmarks and the tests may ask of any cluster, whoever runs it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from devcluster import tools
from devcluster.errors import DevclusterError
from devcluster.processes import attempt


class AnyCluster(ABC):
    """A Kubernetes cluster.

    Attributes:
        own: whether ``down`` removes it with everything in it; in a cluster of somebody else's, clean up what you made.
    """

    own: bool

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """A kubeconfig whose only context is this cluster, as an administrator."""

    @property
    @abstractmethod
    def host_address(self) -> str:
        """The address under which pods reach this computer."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that this computer can run it.

        Raises:
            DevclusterError: it cannot; the message is one sentence that says what to do.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Install, build and fetch everything that it needs; what is there already is left alone.

        Raises:
            DevclusterError: a step failed.
        """

    @abstractmethod
    def make_network(self) -> None:
        """See to it that a server on this computer can listen on ``host_address`` before the cluster is there."""

    @abstractmethod
    def running(self) -> bool:
        """Whether every part runs."""

    @abstractmethod
    def up(self, nodes: int = 1) -> None:
        """Start it with at least so many nodes; what runs already is left as it is.

        Raises:
            DevclusterError: a part does not start.
        """

    @abstractmethod
    def down(self) -> None:
        """Remove everything that ``up`` made."""

    @abstractmethod
    def build(self, tag: str, dockerfile: Path, context: Path, build_args: tuple[str, ...] = ()) -> bool:
        """Build an image unless nothing it is made from has changed; returns whether it was built."""

    @abstractmethod
    def load(self, *tags: str) -> None:
        """Bring built images to every node.

        Raises:
            DevclusterError: one has not been built, or there is no way.
        """

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
