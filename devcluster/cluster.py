"""A cluster of our own: up, down, and what tests and the demo do with it."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from devcluster import binaries, debian, images, paths, surroundings, tools
from devcluster.access import AnyCluster
from devcluster.controlplane import PROGRAMS, ControlPlane
from devcluster.errors import DevclusterError
from devcluster.layout import DEFAULT_NAME, layout
from devcluster.locks import lock
from devcluster.node import Node
from devcluster.patience import wait_for
from devcluster.processes import Registry, run
from devcluster.progress import say
from devcluster.steps import together


def prepare() -> None:
    """Install, build and fetch everything a cluster needs; what is there already is left alone.

    Raises:
        DevclusterError: a step failed.
    """
    surroundings.check()
    with lock("prepare", "`devcluster prepare`"):
        debian.prepare()
        together(binaries.prepare, tools.prepare, images.prepare_base)
        images.prepare_pause()


class Cluster(AnyCluster):
    """A Kubernetes cluster on this computer.

    Args:
        name: clusters of different names run side by side.
        api_server_options: what its API server is started with beside the usual.

    Raises:
        DevclusterError: the name is not one.
    """

    def __init__(self, name: str = DEFAULT_NAME, api_server_options: Sequence[str] = ()) -> None:
        self._layout = layout(name)
        self._directory = paths.state(name)
        self._registry = Registry(self._directory)
        self._plane = ControlPlane(self._layout, self._directory, self._registry, api_server_options)
        self._nodes = [Node(self._layout, node, self._directory, self._registry) for node in self._layout.possible_nodes]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._plane.kubeconfig("admin")

    @property
    def host_address(self) -> str:
        """The address under which pods reach this computer."""
        return self._layout.host_address

    def running(self) -> bool:
        """Whether every part that was started runs."""
        processes = self._registry.load()
        needed = {*PROGRAMS, self._nodes[0].id}
        complete = needed <= processes.keys() and all(p.alive() for p in processes.values())
        return complete and all(n.released() for n in self._nodes if n.id in processes) and self._plane.ready()

    def make_network(self) -> None:
        """Make the bridge alone, so that a server can listen on it before the cluster is there."""
        bridge = self._layout.bridge
        if not Path(f"/sys/class/net/{bridge}").exists():
            run(["ip", "link", "add", bridge, "type", "bridge"])
        run(["ip", "address", "replace", f"{self._layout.host_address}/24", "dev", bridge])
        run(["ip", "link", "set", bridge, "up"])

    def up(self, nodes: int = 1) -> None:
        """Start the cluster with at least so many nodes; what a crash left behind is removed first.

        A cluster of which a part has ended is made anew, so its objects are lost.

        Raises:
            DevclusterError: a part does not start.
        """
        self._layout.nodes(nodes)  # a wrong number is told before anything is built
        prepare()
        with lock(f"cluster-{self._layout.name}", f"`devcluster` for cluster {self._layout.name}"):
            started = time.monotonic()
            if not self.running():
                self._start()
            recorded = self._registry.load()
            self._start_nodes([node for node in self._nodes[:nodes] if node.id not in recorded])
            say(f"cluster {self._layout.name} is up after {time.monotonic() - started:.1f} s")

    def down(self) -> None:
        """Stop the cluster and remove everything it made on this computer, its state included.

        Raises:
            DevclusterError: something does not go away, or this is not root.
        """
        surroundings.check_rights()
        with lock(f"cluster-{self._layout.name}", f"`devcluster` for cluster {self._layout.name}"):
            say(f"stopping cluster {self._layout.name}")
            self._remove()
            bridge = self._layout.bridge
            if Path(f"/sys/class/net/{bridge}").exists():
                run(["ip", "link", "delete", bridge])

    def load(self, *tags: str) -> None:
        """Import built images into every node, and into those that start later.

        Raises:
            DevclusterError: one has not been built.
        """
        recorded = self._registry.load()
        for node in self._nodes:
            if node.id in recorded and recorded[node.id].alive():
                say(f"loading {', '.join(tags)} into node {node.id}")
                node.load(tags)
        self._loaded_file.write_text(json.dumps(list(dict.fromkeys([*self._loaded(), *tags]))), encoding="utf-8")

    def stop_api_server(self) -> None:
        """Kill the API server."""
        self._registry.kill("kube-apiserver")

    def start_api_server(self) -> None:
        """Start the API server again."""
        self._plane.start_api_server()

    def restart_controller_manager(self, *, quick: bool) -> None:
        """Restart the controller manager, quick as it is here, or with Kubernetes' own limit of requests a second."""
        self._registry.kill("kube-controller-manager")
        self._plane.start_controller_manager(quick=quick)

    def kill_node(self, index: int = 1) -> None:
        """Kill a node with everything in it, as if it had lost power.

        Args:
            index: 1 is the first.
        """
        self._nodes[index - 1].kill()

    def start_node(self, index: int = 1) -> None:
        """Start a node that was killed, or one more; its images are those it had.

        Raises:
            DevclusterError: it does not start.
        """
        node = self._nodes[index - 1]
        node.kill()
        self._start_nodes([node])

    def _start(self) -> None:
        self._remove()
        self._check_neighbours()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self.make_network()
        self._plane.start()

    def _start_nodes(self, nodes: Sequence[Node]) -> None:
        started = time.time()
        for node in nodes:
            self._plane.write_node_kubeconfigs(node.layout)
            node.start()
            node.load([images.PAUSE_IMAGE, *self._loaded()])
            node.release()
        self._wait_for_nodes(nodes, started)

    def _remove(self) -> None:
        """Everything but the bridge, on which servers of the caller's may listen."""
        if self._directory.exists():
            say(f"removing cluster {self._layout.name}")
        self._registry.kill_all()
        for node in self._nodes:
            node.remove_leftovers()
        if self._directory.exists():
            shutil.rmtree(self._directory)
        with contextlib.suppress(OSError):  # other clusters have theirs in it
            self._directory.parent.rmdir()

    def _check_neighbours(self) -> None:
        """Names are more than addresses: two can fall on the same ones."""
        for other in paths.states().iterdir() if paths.states().exists() else ():
            same = other.name != self._layout.name and layout(other.name).slot == self._layout.slot
            if same and any(process.alive() for process in Registry(other).load().values()):
                raise DevclusterError(
                    f"cluster {other.name} has the addresses that {self._layout.name} needs: stop it, or choose another name"
                )

    def _wait_for_nodes(self, nodes: Sequence[Node], since: float) -> None:
        """Wait until each has said that it is Ready, later than ``since`` (seconds since 1970)."""
        names, processes = {node.layout.name for node in nodes}, self._registry.load()
        come = wait_for(
            f"{', '.join(sorted(names))} to become Ready",
            lambda: names <= self._plane.ready_nodes(since),
            lambda: all(processes[node.id].alive() for node in nodes),
            pause=0.2,
        )
        if not come:
            text = f"not every node of {', '.join(sorted(names))} gets Ready; see the logs in {self._directory}"
            raise DevclusterError(text)

    @property
    def _loaded_file(self) -> Path:
        return self._directory / "images.json"

    def _loaded(self) -> list[str]:
        tags: list[str] = json.loads(self._loaded_file.read_text(encoding="utf-8")) if self._loaded_file.exists() else []
        return tags
