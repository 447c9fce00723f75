"""One node: containerd, kubelet and kube-proxy in namespaces of their own, which one SIGKILL ends with all that is in them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from devcluster import binaries, paths
from devcluster.errors import DevclusterError
from devcluster.layout import Layout
from devcluster.processes import Process, Registry, run, spawn

_UP_SECONDS = 30
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
PAUSE_IMAGE = "localhost/rivermill/pause:1"


class Node:
    """The node of one cluster.

    Args:
        layout: addresses.
        directory: state of this cluster.
        registry: where its process is recorded.
    """

    def __init__(self, layout: Layout, directory: Path, registry: Registry) -> None:
        self._layout = layout
        self._directory = directory / "node"
        self._cluster_directory = directory
        self._registry = registry

    def start(self, certificate: Path) -> None:
        """Start the node and wait until containerd answers."""
        self._write_configuration(certificate)
        # The wrapper puts itself into the node's cgroups; what it becomes, and all children, stay there.
        enter = 'for folder in $1; do echo $$ > "$folder/cgroup.procs" || exit 1; done; shift; exec "$@"'
        command = [
            "sh", "-c", enter, "enter", " ".join(self._make_cgroups()),
            "unshare", "--mount", "--propagation", "private", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork",
            "--kill-child", "sh", str(paths.SOURCE / "node.sh"), str(self._directory), str(binaries.directory()),
        ]  # fmt: skip
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NODE": self._layout.node_name}
        env |= {"CGROUPS": "\n".join(f"{target} {kind} {options}" for target, kind, options in _hierarchies())}
        process = spawn(command, self._directory / "node.log", env=env)
        self._registry.add("node", process)
        self._connect(self._init_pid(process))
        self._wait_for_containerd(process)

    def kill(self) -> None:
        """End the node at once, with everything in it."""
        process = self._registry.load().get("node")
        if process is not None and not process.kill(signal.SIGKILL, 20):
            raise DevclusterError(f"process {process.pid} of the node does not end")

    def enter(self, *command: str, timeout: float = 120) -> str:
        """Run a program inside the node's mount, pid and network namespaces."""
        process = self._registry.load().get("node")
        if process is None or not process.alive():
            raise DevclusterError("the node does not run: run `python -m devcluster up`")
        target = str(self._init_pid(process))
        return run(["nsenter", "-t", target, "-m", "-p", "-n", *command], timeout=timeout)

    def remove_leftovers(self, *, keep_bridge: bool) -> None:
        """Links and cgroup folders of a node that has ended."""
        for link in (self._layout.veth,) if keep_bridge else (self._layout.veth, self._layout.bridge):
            if Path(f"/sys/class/net/{link}").exists():
                run(["ip", "link", "delete", link])
        deadline = time.monotonic() + 10
        for target, _, _ in _hierarchies():
            top = Path(target) / self._layout.cgroup
            while top.exists() and time.monotonic() < deadline:
                _remove_tree(top)
                time.sleep(0.05)

    def make_bridge(self) -> None:
        """The bridge over which node, pods and host reach each other."""
        bridge = self._layout.bridge
        if not Path(f"/sys/class/net/{bridge}").exists():
            run(["ip", "link", "add", bridge, "type", "bridge"])
            run(["ip", "address", "add", f"{self._layout.host_address}/24", "dev", bridge])
        run(["ip", "link", "set", bridge, "up"])

    def _connect(self, pid: int) -> None:
        layout = self._layout
        run(["ip", "link", "add", layout.veth, "type", "veth", "peer", "name", "uplink", "netns", str(pid)])
        run(["ip", "link", "set", layout.veth, "master", layout.bridge, "up"])
        inside = ["nsenter", "-t", str(pid), "-n", "ip"]
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{layout.node_address}/24", "dev", "uplink"],
            ["link", "set", "uplink", "up"],
            ["route", "add", "default", "via", layout.host_address],
        ):
            run([*inside, *command])
        run(["ip", "route", "replace", layout.pod_network, "via", layout.node_address])

    def _init_pid(self, process: Process) -> int:
        """The first process inside the node's pid namespace."""
        deadline = time.monotonic() + _UP_SECONDS
        while time.monotonic() < deadline and process.alive():
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            if children:
                return int(children[0])
            time.sleep(0.02)
        raise DevclusterError(f"the node does not start; see {self._directory / 'node.log'}")

    def _wait_for_containerd(self, process: Process) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        while time.monotonic() < deadline and process.alive():
            try:
                self.enter("ctr", "version", timeout=5)
                return
            except DevclusterError:
                time.sleep(0.1)
        raise DevclusterError(f"containerd does not answer; see {self._directory / 'node.log'}")

    def _write_configuration(self, certificate: Path) -> None:
        layout, directory = self._layout, self._directory
        for folder in ("cni", "containerd", "kubelet", "varlibcni", "podlogs", "containerlogs"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        (directory / "containerd.toml").write_text(_CONTAINERD.format(directory=directory, pause=PAUSE_IMAGE), encoding="utf-8")
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
            "address": layout.node_address,
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
            "hostnameOverride": layout.node_name,
            "clientConnection": {"kubeconfig": str(self._cluster_directory / "proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        (directory / "kubelet.json").write_text(json.dumps(kubelet), encoding="ascii")
        (directory / "proxy.json").write_text(json.dumps(proxy), encoding="ascii")
        assert certificate.exists()

    def _make_cgroups(self) -> list[str]:
        folders = []
        for target, _, _ in _hierarchies():
            folder = Path(target) / self._layout.cgroup
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (folder / name).exists() and not (folder / name).read_text(encoding="ascii").strip():
                    (folder / name).write_text((folder.parent / name).read_text(encoding="ascii"), encoding="ascii")
            folders.append(str(folder))
        return folders


def _hierarchies() -> list[tuple[str, str, str]]:
    """Mount point, file system and controllers of each cgroup hierarchy."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup":
            skip = {"rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr"}
            controllers = ",".join(o for o in options.split(",") if o not in skip and not o.startswith("release_agent="))
            prefix = "none," if controllers.startswith("name=") else ""
            found.append((target, kind, prefix + controllers))
        elif kind == "cgroup2":
            found.append((target, kind, "rw"))
    return list(dict.fromkeys(found))


def _remove_tree(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:  # a process in it has not ended yet
            return
