"""Names, addresses and ports of one cluster. Pure."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from devcluster.errors import DevclusterError

DEFAULT_NAME = "rivermill"
MOST_NODES = 9
_SLOTS = 200
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """What one node does not share with any other node of this computer.

    Attributes:
        cluster: the cluster's name.
        slot: the cluster's slot.
        index: 1 to ``MOST_NODES``.
    """

    cluster: str
    slot: int
    index: int

    @property
    def id(self) -> str:
        """Its name among the processes and folders of the cluster."""
        return f"node{self.index}"

    @property
    def name(self) -> str:
        """Its name in Kubernetes."""
        return f"{self.cluster}-{self.id}"

    @property
    def veth(self) -> str:
        """The host's end of its link; the kernel allows 15 characters."""
        return f"rmve{self.slot}n{self.index}"

    @property
    def address(self) -> str:
        """Its address on the cluster's bridge."""
        return f"10.99.{self.slot}.{10 + self.index}"

    @property
    def pod_network(self) -> str:
        """Addresses of its pods."""
        return f"10.{100 + self.index}.{self.slot}.0/24"

    @property
    def cgroup(self) -> str:
        """The folder of its cgroups, one in each hierarchy."""
        return f"rivermill-{self.name}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that two clusters on one computer must not share."""

    name: str
    slot: int

    @property
    def bridge(self) -> str:
        """The bridge on the host."""
        return f"rmbr{self.slot}"

    @property
    def host_address(self) -> str:
        """The host, as the nodes and the pods reach it."""
        return f"10.99.{self.slot}.1"

    @property
    def service_network(self) -> str:
        """Addresses of services; the first is the API server's."""
        return f"10.97.{self.slot}.0/24"

    @property
    def api_port(self) -> int:
        """The API server's port on ``host_address``."""
        return 6443

    @property
    def etcd_port(self) -> int:
        """Etcd's client port on loopback; the next is for peers."""
        return 23790 + 2 * self.slot

    @property
    def listeners(self) -> tuple[tuple[str, int], ...]:
        """Where the control plane listens on the host, as (address, port)."""
        return ((self.host_address, self.api_port), ("127.0.0.1", self.etcd_port), ("127.0.0.1", self.etcd_port + 1))

    @property
    def possible_nodes(self) -> tuple[NodeLayout, ...]:
        """Every node the cluster can have; the first is always there."""
        return tuple(NodeLayout(self.name, self.slot, index) for index in range(1, MOST_NODES + 1))

    def nodes(self, count: int) -> tuple[NodeLayout, ...]:
        """The first ``count`` nodes.

        Raises:
            DevclusterError: there cannot be so many.
        """
        if not 1 <= count <= MOST_NODES:
            raise DevclusterError(f"{count} nodes cannot be made: use 1 to {MOST_NODES}")
        return self.possible_nodes[:count]


def layout(name: str) -> Layout:
    """The layout of a cluster: the default one has slot 0, others a slot from their name.

    Raises:
        DevclusterError: the name is not one.
    """
    if not _NAME.fullmatch(name):
        raise DevclusterError(f"{name!r} is no name for a cluster: use up to 40 of a-z, 0-9 and -, not - at an end")
    return Layout(name, 0 if name == DEFAULT_NAME else 1 + zlib.crc32(name.encode()) % (_SLOTS - 1))


def routes(node: NodeLayout, others: tuple[NodeLayout, ...]) -> tuple[tuple[str, str], ...]:
    """A node's routes to the pods of the other nodes, as (network, gateway)."""
    return tuple((other.pod_network, other.address) for other in others if other != node)
