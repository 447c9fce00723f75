"""etcd, API server, controller manager and scheduler, as processes on the host."""

from __future__ import annotations

import json
import secrets
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from devcluster import binaries
from devcluster.errors import DevclusterError
from devcluster.layout import Layout
from devcluster.processes import Registry, run, spawn

_READY_SECONDS = 60
_IDENTITIES = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}


class ControlPlane:
    """The control plane of one cluster.

    Args:
        layout: addresses and ports.
        directory: state of this cluster.
        registry: where processes are recorded.
    """

    def __init__(self, layout: Layout, directory: Path, registry: Registry) -> None:
        self._layout = layout
        self._directory = directory
        self._registry = registry
        self._programs = binaries.directory()

    def kubeconfig(self, identity: str) -> Path:
        """The kubeconfig of one identity."""
        return self._directory / f"{identity}.kubeconfig"

    @property
    def certificate(self) -> Path:
        """The API server's certificate, which is also its authority."""
        return self._directory / "certs" / "apiserver.crt"

    def start(self) -> None:
        """Start everything and wait until the API server is ready."""
        self._write_identities()
        etcd = f"http://127.0.0.1:{self._layout.etcd_port}"
        peer = f"http://127.0.0.1:{self._layout.etcd_port + 1}"
        self._spawn(
            "etcd", "--unsafe-no-fsync", f"--data-dir={self._directory / 'etcd'}", f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--logger=zap", "--log-level=warn",
        )  # fmt: skip
        self.start_api_server()
        for program, identity, options in (
            ("kube-controller-manager", "controller-manager", self._controller_options()),
            ("kube-scheduler", "scheduler", []),
        ):
            config = str(self._write_kubeconfig(identity))
            self._spawn(program, f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0", *options)
        self._wait_for_service_account()

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
        names = [*_IDENTITIES, "kubelet"]
        values = {name: secrets.token_hex(24) for name in names}
        tokens.touch(mode=0o600)
        tokens.write_text(json.dumps(values), encoding="ascii")
        lines = [f'{values[name]},{user},{name},"{groups}"' for name, (user, groups) in _IDENTITIES.items()]
        lines.append(f'{values["kubelet"]},system:node:{self._layout.node_name},kubelet,"system:nodes"')
        csv = self._directory / "tokens.csv"
        csv.touch(mode=0o600)
        csv.write_text("\n".join(lines) + "\n", encoding="ascii")

    def write_node_kubeconfigs(self) -> None:
        """The kubeconfigs of kubelet and kube-proxy."""
        for identity in ("kubelet", "proxy"):
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

    def _spawn(self, program: str, *options: str) -> None:
        command = [str(self._programs / program), *options]
        self._registry.add(program, spawn(command, self._directory / f"{program}.log"))

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.ready():
            process = self._registry.load()["kube-apiserver"]
            if not process.alive() or time.monotonic() > deadline:
                log = self._directory / "kube-apiserver.log"
                tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
                raise DevclusterError(f"the API server does not come up; {log} ends with:\n{tail}")
            time.sleep(0.1)

    def ready(self) -> bool:
        """Whether the API server answers that it is ready."""
        try:
            return self._get("/readyz").startswith(b"ok")
        except (OSError, urllib.error.URLError):
            return False

    def _wait_for_service_account(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                self._get("/api/v1/namespaces/default/serviceaccounts/default")
                return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise DevclusterError("the controller manager makes no service accounts; see kube-controller-manager.log")

    def _get(self, path: str) -> bytes:
        tokens: dict[str, Any] = json.loads((self._directory / "tokens.json").read_text(encoding="ascii"))
        context = ssl.create_default_context(cafile=str(self.certificate))
        url = f"https://{self._layout.host_address}:{self._layout.api_port}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {tokens['admin']}"})
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            body: bytes = response.read()
            return body
