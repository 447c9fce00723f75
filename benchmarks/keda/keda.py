"""KEDA 2.21 as processes of this computer: its operator, its metrics adapter, and what the API server has to know of both."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import gotools
from benchmarks.keda.workloads import MOST_PODS, SLOTS
from benchmarks.operator.world import free_port, process
from devcluster import Cluster, DevclusterError
from devcluster.binaries import find_go
from devcluster.processes import run

VERSION = "v2.21.0"
_MODULE = "github.com/kedacore/keda/v2"
_SOURCE = Path(__file__).parent / "source"
_NAME = "keda-operator.keda.svc.cluster.local"
_PROXY = "front-proxy-client"
#: Jobs that want a slot: those that wait and those that run. With the waiting ones alone busy pods would look idle.
QUERY = "SELECT count(*) FROM river_job WHERE queue = 'default' AND state IN ('available', 'running') AND scheduled_at <= now()"


def programs() -> Path:
    """The folder with ``operator`` and ``adapter``."""
    packages = {name: f"{_MODULE}/cmd/{name}" for name in ("operator", "adapter")}
    return gotools.build(f"keda-{VERSION}", _SOURCE, packages)


def _definitions() -> Path:
    """The folder of its CRDs, in the module."""
    command = [find_go(), "mod", "download", "-json", _MODULE]
    done = subprocess.run(
        command, cwd=_SOURCE, env=gotools.environment(), check=True, capture_output=True, text=True, timeout=600
    )
    return Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases"


class Certificates:
    """One authority for everything here, and what it has signed.

    Args:
        directory: where they are kept.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = directory / "ca.crt"
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=bench-keda",
             "-keyout", str(directory / "ca.key"), "-out", str(self.authority)])  # fmt: skip
        self._sign("proxy", _PROXY)
        self._sign("tls", _NAME)

    @property
    def directory(self) -> Path:
        """With ``ca.crt``, ``tls.crt`` and ``tls.key``, as KEDA wants them."""
        return self._directory

    def api_server(self) -> list[str]:
        """Options of an API server that may ask the adapter for metrics."""
        return [
            f"--client-ca-file={self.authority}",
            f"--requestheader-client-ca-file={self.authority}",
            f"--requestheader-allowed-names={_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self._directory / 'proxy.crt'}",
            f"--proxy-client-key-file={self._directory / 'proxy.key'}",
            # There is no kube-proxy on the host, so it has to go to the adapter's own address.
            "--enable-aggregator-routing=true",
        ]

    def _sign(self, file: str, name: str) -> None:
        key, request, certificate = (self._directory / f"{file}.{end}" for end in ("key", "csr", "crt"))
        extensions = self._directory / f"{file}.ext"
        extensions.write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n", encoding="ascii")
        run(
            [
                "openssl",
                "req",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                f"/CN={name}",
                "-keyout",
                str(key),
                "-out",
                str(request),
            ]
        )
        run(["openssl", "x509", "-req", "-in", str(request), "-CA", str(self.authority), "-CAkey",
             str(self._directory / "ca.key"), "-CAcreateserial", "-days", "30", "-extfile", str(extensions),
             "-out", str(certificate)])  # fmt: skip


@contextlib.contextmanager
def running(cluster: Cluster, certificates: Certificates, logs: Path) -> Iterator[None]:
    """KEDA, as long as this; its CRDs stay."""
    folder = programs()
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(_definitions()))
    cluster.kubectl("create", "namespace", "keda", check=False)
    service, secure, metrics, probe, own = (free_port() for _ in range(5))
    cluster.kubectl("apply", "-f", "-", text=json.dumps(_service(cluster.host_address, secure)))
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda",
        "POD_NAMESPACE": "keda",
        "POD_NAME": "keda-operator-0",
        "WATCH_NAMESPACE": "",
    }
    operator = [str(folder / "operator"), f"--kubeconfig={cluster.kubeconfig}", f"--cert-dir={certificates.directory}",
                "--enable-webhook-patching=false", "--enable-apiservice-patching=false",
                f"--metrics-bind-address=127.0.0.1:{metrics}", f"--health-probe-bind-address=127.0.0.1:{probe}",
                f"--metrics-service-bind-address=127.0.0.1:{service}"]  # fmt: skip
    adapter = [str(folder / "adapter"), f"--metrics-service-address=127.0.0.1:{service}",
               f"--metrics-service-grpc-authority={_NAME}", f"--cert-dir={certificates.directory}", f"--secure-port={secure}",
               f"--port={own}", *(f"--{what}-kubeconfig={cluster.kubeconfig}"
                                          for what in ("lister", "authentication", "authorization"))]  # fmt: skip
    with (
        process(operator, logs / "keda-operator.log", **environment),
        process(adapter, logs / "keda-adapter.log", **environment),
    ):
        try:
            cluster.kubectl("wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=60s")
        except DevclusterError as error:
            tails = [
                (logs / f"keda-{part}.log").read_text(encoding="utf-8", errors="replace")[-1500:]
                for part in ("operator", "adapter")
            ]
            raise DevclusterError("\n".join([str(error), *tails])) from error
        yield


def _service(host: str, port: int) -> dict[str, Any]:
    meta = {"name": "keda-metrics-apiserver", "namespace": "keda"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {"kubernetes.io/service-name": meta["name"]}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": meta["namespace"], "name": meta["name"], "port": 443},
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, slices, api]}


def scaled_object(deployment: str, *, tuned: bool) -> dict[str, Any]:
    """What a user of KEDA writes; ``tuned`` as quick as its settings allow without flapping."""
    trigger = {
        "type": "postgresql",
        "metadata": {"connectionFromEnv": "KEDA_URL", "query": QUERY, "targetQueryValue": str(SLOTS)},
    }
    spec: dict[str, Any] = {
        "scaleTargetRef": {"name": deployment},
        "minReplicaCount": 0,
        "maxReplicaCount": MOST_PODS,
        "triggers": [trigger],
    }
    if tuned:
        up = [{"type": "Percent", "value": 900, "periodSeconds": 15}, {"type": "Pods", "value": 20, "periodSeconds": 15}]
        down = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
        behavior = {
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": up},
            "scaleDown": {"stabilizationWindowSeconds": 60, "policies": down},
        }
        spec |= {
            "pollingInterval": 5,
            "cooldownPeriod": 60,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior}},
        }
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": deployment}, "spec": spec}
