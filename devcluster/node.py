"""One node: containerd, kubelet and kube-proxy in namespaces of their own, which one SIGKILL ends with all that is in them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from devcluster import binaries, cgroups, images, paths
from devcluster.errors import DevclusterError
from devcluster.layout import Layout, NodeLayout, routes
from devcluster.patience import wait_for
from devcluster.processes import Process, Registry, run

_CONTAINERD = """
version = 2
root = "{directory}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{directory}/cni"
"""


class Node:
    """One node of a cluster.

    Args:
        cluster: addresses of its cluster.
        layout: its own names and addresses.
        directory: state of its cluster.
        registry: where its process is recorded.
    """

    def __init__(self, cluster: Layout, layout: NodeLayout, directory: Path, registry: Registry) -> None:
        self._cluster = cluster
        self.layout = layout
        self._directory = directory / layout.id
        self._cluster_directory = directory
        self._registry = registry

    @property
    def id(self) -> str:
        """Its name in the registry."""
        return self.layout.id

    def start(self) -> None:
        """Start the node and wait until containerd answers; kubelet waits for ``release``."""
        self._write_configuration()
        self._release_file.unlink(missing_ok=True)
        # The wrapper puts itself into the node's cgroups; what it becomes, and all children, stay there.
        enter = 'for folder in $1; do echo $$ > "$folder/cgroup.procs" || exit 1; done; shift; exec "$@"'
        folders = " ".join(str(folder) for folder in cgroups.make(self.layout.cgroup))
        command = [
            "sh", "-c", enter, "enter", folders,
            "unshare", "--mount", "--propagation", "private", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork",
            "--kill-child", "sh", str(paths.SOURCE / "node.sh"), str(self._directory), str(binaries.directory()),
        ]  # fmt: skip
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "NODE": self.layout.name,
            "ADDRESS": self.layout.address,
            "CGROUPS": "\n".join(f"{h.target} {h.kind} {h.options}" for h in cgroups.hierarchies()),
        }
        process = self._registry.spawn(self.id, command, self._directory / "node.log", env=env)
        pid = self._init_pid(process)
        cgroups.delegate(self.layout.cgroup)
        self._connect(pid)
        self._wait_for_containerd(process)

    def release(self) -> None:
        """Let kubelet start: every image it may need is there."""
        self._release_file.touch()

    def released(self) -> bool:
        """Whether kubelet was let start; an ``up`` that was killed may have left a node that waits for ever."""
        return self._release_file.exists()

    def kill(self) -> None:
        """End the node at once, with everything in it.

        Raises:
            DevclusterError: it does not end.
        """
        self._registry.kill(self.id)
        self.remove_leftovers()

    def enter(self, *command: str, timeout: float = 120) -> str:
        """Run a program inside the node's mount, pid and network namespaces."""
        process = self._registry.load().get(self.id)
        if process is None or not process.alive():
            raise DevclusterError(f"{self.layout.name} does not run: run `python -m devcluster up`")
        target = str(self._init_pid(process))
        return run(["nsenter", "-t", target, "-m", "-p", "-n", *command], timeout=timeout)

    def load(self, tags: Sequence[str]) -> None:
        """Import built images.

        Raises:
            DevclusterError: one has not been built.
        """
        for tag in tags:
            file = images.archive(tag)
            if not file.exists():
                raise DevclusterError(f"image {tag} has not been built: run `python -m devcluster build`")
            self.enter("ctr", "-n", "k8s.io", "images", "import", str(file), timeout=300)

    def remove_leftovers(self) -> None:
        """Its link and its cgroup folders, once it has ended."""
        if Path(f"/sys/class/net/{self.layout.veth}").exists():
            # The kernel may be removing it at this moment, with the other end's namespace.
            run(["ip", "link", "delete", self.layout.veth], check=False)
        cgroups.remove(self.layout.cgroup)

    def _connect(self, pid: int) -> None:
        node, cluster = self.layout, self._cluster
        run(["ip", "link", "add", node.veth, "type", "veth", "peer", "name", "uplink", "netns", str(pid)])
        run(["ip", "link", "set", node.veth, "master", cluster.bridge, "up"])
        inside = ["nsenter", "-t", str(pid), "-n", "ip"]
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{node.address}/24", "dev", "uplink"],
            ["link", "set", "uplink", "up"],
            *(["route", "add", network, "via", gateway] for network, gateway in routes(node, cluster.possible_nodes)),
            ["route", "add", "default", "via", cluster.host_address],
        ):
            run([*inside, *command])
        run(["ip", "route", "replace", node.pod_network, "via", node.address])

    @property
    def _release_file(self) -> Path:
        return self._directory / "images-ready"

    def _init_pid(self, process: Process) -> int:
        """The first process inside the node's pid namespace."""
        children: list[str] = []

        def forked() -> bool:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends at this moment
                children[:] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            return bool(children)

        if not wait_for(f"{self.layout.name} to start", forked, process.alive, pause=0.02):
            raise DevclusterError(f"the node does not start; see {self._directory / 'node.log'}")
        return int(children[0])

    def _wait_for_containerd(self, process: Process) -> None:
        if not wait_for(f"containerd of {self.layout.name}", self._containerd_answers, process.alive):
            raise DevclusterError(f"containerd does not answer; see {self._directory / 'node.log'}")

    def _containerd_answers(self) -> bool:
        try:
            self.enter("ctr", "version", timeout=5)
        except DevclusterError:
            return False
        return True

    def _write_configuration(self) -> None:
        layout, directory = self.layout, self._directory
        # Addresses that pods of an earlier life of this node held.
        shutil.rmtree(directory / "varlibcni", ignore_errors=True)
        for folder in ("cni", "containerd", "kubelet", "varlibcni", "podlogs", "containerlogs"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        (directory / "containerd.toml").write_text(
            _CONTAINERD.format(directory=directory, pause=images.PAUSE_IMAGE), encoding="utf-8"
        )
        cni = {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "pods",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": layout.pod_network}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }
        (directory / "cni" / "10-pods.conflist").write_text(json.dumps(cni), encoding="ascii")
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # Reached over the cluster's own bridge only, by the API server.
            "address": layout.address,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "nodeStatusUpdateFrequency": "5s",
            "maxPods": 200,
            "registerNode": True,
        }
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": layout.pod_network,
            "hostnameOverride": layout.name,
            "clientConnection": {"kubeconfig": str(self._cluster_directory / "proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        (directory / "kubelet.json").write_text(json.dumps(kubelet), encoding="ascii")
        (directory / "proxy.json").write_text(json.dumps(proxy), encoding="ascii")
