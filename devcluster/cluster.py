"""One cluster: up, down, and what tests and the demo do with it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from devcluster import binaries, debian, images, paths, tools
from devcluster.controlplane import ControlPlane
from devcluster.errors import DevclusterError
from devcluster.layout import DEFAULT_NAME, layout
from devcluster.node import PAUSE_IMAGE, Node
from devcluster.processes import Registry
from devcluster.progress import say

_NODE_SECONDS = 60
_FREE_BYTES = 8 * 2**30


def check_surroundings() -> None:
    """Say in one sentence what keeps a cluster from running here.

    Raises:
        DevclusterError: something does.
    """
    if sys.platform != "linux":
        raise DevclusterError("the dev cluster needs Linux; elsewhere set CLUSTER=current to use your kubectl context")
    if os.geteuid() != 0:
        raise DevclusterError(
            "the dev cluster needs root, for namespaces and a bridge: run it with sudo, or set CLUSTER=current"
        )
    free = shutil.disk_usage(paths.cache()).free
    if free < _FREE_BYTES:
        raise DevclusterError(
            f"{paths.cache()} has {free / 2**30:.1f} GiB free, 8 are needed: make room or set RIVERMILL_CACHE"
        )


def prepare() -> None:
    """Install, build and fetch everything a cluster needs; what is there already is left alone.

    Raises:
        DevclusterError: a step failed.
    """
    check_surroundings()
    with _lock(paths.cache() / "prepare.lock"):
        debian.prepare()
        steps: tuple[Callable[[], None], ...] = (binaries.prepare, tools.prepare)
        with ThreadPoolExecutor(len(steps)) as pool:
            for future in [pool.submit(step) for step in steps]:
                future.result()
        images.prepare()


class Cluster:
    """A Kubernetes cluster on this computer.

    Args:
        name: clusters of different names run side by side.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self._layout = layout(name)
        self._directory = paths.state(name)
        self._registry = Registry(self._directory / "processes.json")
        self._plane = ControlPlane(self._layout, self._directory, self._registry)
        self._node = Node(self._layout, self._directory, self._registry)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._plane.kubeconfig("admin")

    @property
    def host_address(self) -> str:
        """The address under which pods reach this computer."""
        return self._layout.host_address

    def running(self) -> bool:
        """Whether every part runs."""
        processes = self._registry.load()
        return len(processes) == 5 and all(p.alive() for p in processes.values()) and self._plane.ready()  # noqa: PLR2004

    def make_network(self) -> None:
        """Make the bridge alone, so that a server can listen on it before the cluster is there."""
        self._node.make_bridge()

    def up(self) -> None:
        """Start the cluster; one that runs is left as it is, what a crash left behind is removed first.

        Raises:
            DevclusterError: a part does not start.
        """
        prepare()
        if self.running():
            return
        self.down(keep_bridge=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        started = time.monotonic()
        self._node.make_bridge()
        self._plane.start()
        self._plane.write_node_kubeconfigs()
        self._node.start(self._plane.certificate)
        self.load(PAUSE_IMAGE)
        (self._directory / "node" / "images-ready").touch()
        self._wait_for_node()
        say(f"cluster {self._layout.name} is up after {time.monotonic() - started:.1f} s")

    def down(self, *, keep_bridge: bool = False) -> None:
        """Stop the cluster and remove everything it made on this computer, its state included."""
        self._node.kill()
        for process in self._registry.load().values():
            process.kill(signal.SIGKILL, 10)
        self._node.remove_leftovers(keep_bridge=keep_bridge)
        shutil.rmtree(self._directory, ignore_errors=True)

    def build(self, tag: str, dockerfile: Path, context: Path, build_args: tuple[str, ...] = ()) -> bool:
        """Build an image unless nothing it is made from has changed; returns whether it was built."""
        return images.build(tag, dockerfile, context, build_args)

    def load(self, *tags: str) -> None:
        """Import built images into the node."""
        for tag in tags:
            file = images.archive(tag)
            if not file.exists():
                raise DevclusterError(f"image {tag} has not been built: run `python -m devcluster build`")
            self._node.enter("ctr", "-n", "k8s.io", "images", "import", str(file), timeout=300)

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster.

        Raises:
            DevclusterError: ``check`` is set and it failed.
        """
        command = [str(tools.kubectl()), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input=text, timeout=180)
        if check and done.returncode != 0:
            raise DevclusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def helm(self, *arguments: str, major: int = 4, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm against this cluster."""
        command = [str(tools.helm(major)), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if check and done.returncode != 0:
            raise DevclusterError(f"helm {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def stop_api_server(self) -> None:
        """Kill the API server."""
        self._registry.load()["kube-apiserver"].kill(signal.SIGKILL, 10)

    def start_api_server(self) -> None:
        """Start the API server again."""
        self._plane.start_api_server()

    def kill_node(self) -> None:
        """Kill the node with everything in it."""
        self._node.kill()

    def _wait_for_node(self) -> None:
        deadline = time.monotonic() + _NODE_SECONDS
        path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        while time.monotonic() < deadline:
            if self.kubectl("get", "nodes", "-o", path, check=False).stdout == "True":
                return
            time.sleep(0.2)
        raise DevclusterError(f"the node does not get Ready; see {self._directory / 'node' / 'kubelet.log'}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep two runs of the same step apart."""
    with path.open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another `devcluster prepare`")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
