"""Names, addresses and ports of one cluster. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

DEFAULT_NAME = "rivermill"


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
    def veth(self) -> str:
        """The host's end of the node's link."""
        return f"rmve{self.slot}"

    @property
    def host_address(self) -> str:
        """The host, as the node and the pods reach it."""
        return f"10.99.{self.slot}.1"

    @property
    def node_address(self) -> str:
        """The node."""
        return f"10.99.{self.slot}.11"

    @property
    def pod_network(self) -> str:
        """Addresses of pods."""
        return f"10.98.{self.slot}.0/24"

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
    def node_name(self) -> str:
        """The node's name."""
        return f"{self.name}-node"

    @property
    def cgroup(self) -> str:
        """The folder of the node's cgroups, one in each hierarchy."""
        return f"rivermill-{self.name}"


def layout(name: str) -> Layout:
    """The layout of a cluster: the default one has slot 0, others a slot from their name."""
    return Layout(name, 0 if name == DEFAULT_NAME else 1 + zlib.crc32(name.encode()) % 199)
