"""etcd, API server, controller manager and scheduler, as processes on the host."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from devcluster import binaries
from devcluster.errors import DevclusterError
from devcluster.layout import Layout, NodeLayout
from devcluster.patience import wait_for
from devcluster.processes import Registry, run

#: What a request to a server meets that comes up or goes down meanwhile.
_NO_ANSWER = (OSError, HTTPException)
_IDENTITIES = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
#: Names of the control plane's processes.
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def kubelet_identity(node: NodeLayout) -> str:
    """The identity of a node's kubelet; its kubeconfig is called after it."""
    return f"kubelet-{node.id}"


def check_listeners(layout: Layout) -> None:
    """Make sure that nobody else has the control plane's ports.

    Raises:
        DevclusterError: somebody has.
    """
    for address, port in layout.listeners:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise DevclusterError(
                    f"port {port} on {address} cannot be used ({error.strerror}): stop the program that `ss -ltnp` shows, "
                    "or use a cluster of another name with --name"
                ) from error


#: The default limits, a tenth of these, are made for clusters that share their API server with many.
_QUICK = ("--kube-api-qps=200", "--kube-api-burst=400")


class ControlPlane:
    """The control plane of one cluster.

    Args:
        layout: addresses and ports.
        directory: state of this cluster.
        registry: where processes are recorded.
        api_server_options: what the API server is started with beside the usual.
    """

    def __init__(self, layout: Layout, directory: Path, registry: Registry, api_server_options: Sequence[str] = ()) -> None:
        self._layout = layout
        self._directory = directory
        self._registry = registry
        self._api_server_options = tuple(api_server_options)

    def kubeconfig(self, identity: str) -> Path:
        """The kubeconfig of one identity."""
        return self._directory / f"{identity}.kubeconfig"

    @property
    def certificate(self) -> Path:
        """The API server's certificate, which is also its authority."""
        return self._directory / "certs" / "apiserver.crt"

    def start(self) -> None:
        """Start everything and wait until the API server is ready.

        Raises:
            DevclusterError: a port is taken, or a part does not come up.
        """
        check_listeners(self._layout)
        self._write_identities()
        etcd = f"http://127.0.0.1:{self._layout.etcd_port}"
        peer = f"http://127.0.0.1:{self._layout.etcd_port + 1}"
        self._spawn(
            "etcd", "--unsafe-no-fsync", f"--data-dir={self._directory / 'etcd'}", f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--logger=zap", "--log-level=warn",
        )  # fmt: skip
        self.start_api_server()
        self.start_controller_manager()
        self._spawn_client("kube-scheduler", "scheduler", *_QUICK)
        self._wait_for_service_account()

    def start_controller_manager(self, *, quick: bool = True) -> None:
        """Start the controller manager, with Kubernetes' own limit of requests unless it is to be ``quick``."""
        options = [*self._controller_options(), *(_QUICK if quick else ())]
        self._spawn_client("kube-controller-manager", "controller-manager", *options)

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        layout, directory = self._layout, self._directory
        key, public = directory / "sa.key", directory / "sa.pub"
        if not key.exists():
            run(["openssl", "genrsa", "-out", str(key), "2048"])
            run(["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)])
        self._spawn(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}", f"--bind-address={layout.host_address}",
            f"--advertise-address={layout.host_address}", f"--secure-port={layout.api_port}",
            f"--cert-dir={directory / 'certs'}",
            f"--token-auth-file={directory / 'tokens.csv'}", "--authorization-mode=Node,RBAC", "--anonymous-auth=false",
            f"--service-account-issuer=https://{layout.host_address}:{layout.api_port}", f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={key}", f"--service-cluster-ip-range={layout.service_network}",
            "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true", "--v=1",
            *self._api_server_options,
        )  # fmt: skip
        self._wait_ready()
        self._write_kubeconfig("admin")

    def _controller_options(self) -> list[str]:
        return [
            f"--root-ca-file={self.certificate}", f"--service-account-private-key-file={self._directory / 'sa.key'}",
            "--use-service-account-credentials=true", "--controllers=*", "--node-monitor-grace-period=20s",
        ]  # fmt: skip

    def _write_identities(self) -> None:
        tokens = self._directory / "tokens.json"
        # The API server reads them once, so nodes that may come later have theirs too.
        users = _IDENTITIES | {
            kubelet_identity(node): (f"system:node:{node.name}", "system:nodes") for node in self._layout.possible_nodes
        }
        values = {name: secrets.token_hex(24) for name in users}
        tokens.touch(mode=0o600)
        tokens.write_text(json.dumps(values), encoding="ascii")
        lines = [f'{values[name]},{user},{name},"{groups}"' for name, (user, groups) in users.items()]
        csv = self._directory / "tokens.csv"
        csv.touch(mode=0o600)
        csv.write_text("\n".join(lines) + "\n", encoding="ascii")

    def write_node_kubeconfigs(self, node: NodeLayout) -> None:
        """The kubeconfigs of a node's kubelet and kube-proxy."""
        for identity in (kubelet_identity(node), "proxy"):
            self._write_kubeconfig(identity)

    def _write_kubeconfig(self, identity: str) -> Path:
        token = json.loads((self._directory / "tokens.json").read_text(encoding="ascii"))[identity]
        server = f"https://{self._layout.host_address}:{self._layout.api_port}"
        name = self._layout.name
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(self.certificate)}}],
            "users": [{"name": identity, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": identity}}],
            "current-context": name,
        }
        path = self.kubeconfig(identity)
        path.touch(mode=0o600)
        path.write_text(json.dumps(config), encoding="ascii")
        return path

    def _spawn_client(self, program: str, identity: str, *options: str) -> None:
        config = str(self._write_kubeconfig(identity))
        self._spawn(program, f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0", *options)

    def _spawn(self, program: str, *options: str) -> None:
        command = [str(binaries.directory() / program), *options]
        self._registry.spawn(program, command, self._directory / f"{program}.log")

    def _wait_ready(self) -> None:
        if not wait_for("the API server", self.ready, self._registry.load()["kube-apiserver"].alive):
            log = self._directory / "kube-apiserver.log"
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
            raise DevclusterError(f"the API server does not come up; {log} ends with:\n{tail}")

    def ready(self) -> bool:
        """Whether the API server answers that it is ready."""
        try:
            return self._get("/readyz").startswith(b"ok")
        except _NO_ANSWER:
            return False

    def ready_nodes(self, since: float) -> set[str]:
        """Names of the nodes that have said they are Ready, later than ``since`` (seconds since 1970)."""
        try:
            nodes = json.loads(self._get("/api/v1/nodes"))["items"]
        except _NO_ANSWER:
            return set()
        return {
            node["metadata"]["name"]
            for node in nodes
            for condition in node.get("status", {}).get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
            # Kubernetes tells the time in whole seconds.
            if datetime.fromisoformat(condition["lastHeartbeatTime"]).timestamp() > since - 1
        }

    def _wait_for_service_account(self) -> None:
        manager = self._registry.load()["kube-controller-manager"]
        if not wait_for("the controller manager", self._has_service_account, manager.alive):
            log = self._directory / "kube-controller-manager.log"
            raise DevclusterError(f"the controller manager makes no service accounts; see {log}")

    def _has_service_account(self) -> bool:
        try:
            self._get("/api/v1/namespaces/default/serviceaccounts/default")
        except _NO_ANSWER:
            return False
        return True

    def _get(self, path: str) -> bytes:
        tokens: dict[str, Any] = json.loads((self._directory / "tokens.json").read_text(encoding="ascii"))
        context = ssl.create_default_context(cafile=str(self.certificate))
        url = f"https://{self._layout.host_address}:{self._layout.api_port}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {tokens['admin']}"})
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            body: bytes = response.read()
            return body
