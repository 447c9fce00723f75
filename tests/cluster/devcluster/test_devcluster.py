"""The dev cluster itself: what it leaves behind, what it survives, several nodes. A cluster of its own: parts are killed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import Cluster, CurrentCluster, DevclusterError, check_surroundings, images, prepare
from devcluster.layout import layout
from devcluster.processes import Registry
from tests.cluster.world import eventually

ROOT = Path(__file__).resolve().parents[3]
NAME = "self-test"
IMAGE = "localhost/rivermill/rivermill:0.1.0"
COMMAND = [sys.executable, "-m", "devcluster", "--name", NAME]


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    try:
        check_surroundings()
    except DevclusterError as error:
        pytest.skip(str(error))
    prepare()


@pytest.fixture(scope="module")
def cluster(prepared: None) -> Iterator[Cluster]:
    cluster = Cluster(NAME)
    cluster.down()
    yield cluster
    cluster.down()


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def traces() -> dict[str, set[str]]:
    """Everything on this computer that names this cluster, its addresses, its links or its ports."""
    own = layout(NAME)
    words = (NAME, own.bridge, f"rmve{own.slot}n", f"10.99.{own.slot}.", own.service_network, f":{own.etcd_port}")
    words += tuple(node.pod_network for node in own.possible_nodes)
    texts = {
        "mounts": Path("/proc/self/mounts").read_text(encoding="utf-8"),
        "links": output("ip", "-o", "address") + output("ip", "-o", "link"),
        "routes": output("ip", "route"),
        "tables": output("nft", "list", "ruleset"),
        "listening": output("ss", "-ltnH"),
        # Not by a glob, which fails when a folder of somebody else's goes meanwhile.
        "cgroups": "\n".join(folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"rivermill-{NAME}" in folder),
        "processes": "\n".join(processes(own.name)),
    }
    return {what: {line for line in text.splitlines() if any(word in line for word in words)} for what, text in texts.items()}


def processes(name: str) -> Iterator[str]:
    """Command lines of processes that live in the cluster's cgroups or in its folder."""
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            groups = (entry / "cgroup").read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
        if not line:  # it has ended, and waits for a parent that is not ours
            continue
        if f"rivermill-{name}-" in groups or f"rivermill/{name}/" in line:
            yield f"{name}: {entry.name} {line}"


def pod(cluster: Cluster, name: str, node: int = 1) -> str:
    """Run a pod on a node and return its address once it is Ready."""
    container = {"name": "pause", "image": images.PAUSE_IMAGE, "imagePullPolicy": "Never"}
    spec = {"containers": [container], "nodeName": f"{NAME}-node{node}", "terminationGracePeriodSeconds": 1}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", text=json.dumps(manifest))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    return cluster.kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}").stdout


def test_down_leaves_nothing(cluster: Cluster) -> None:
    before = traces()
    assert before == {what: set() for what in before}
    cluster.up()
    pod(cluster, "first")
    during = traces()
    # What is looked for is found while it is there; mounts and packet rules are the node's own at all times.
    assert all(during[what] for what in ("links", "routes", "listening", "cgroups", "processes"))
    assert not during["mounts"] | during["tables"]
    cluster.down()
    assert traces() == before


@pytest.mark.parametrize("part", ["etcd", "kube-apiserver", "kube-scheduler", "node1"])
def test_up_after_a_killed_part(cluster: Cluster, part: str) -> None:
    cluster.up()
    process = Registry(cluster.kubeconfig.parent).load()[part]
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not cluster.running())
    cluster.up()
    pod(cluster, "again")
    assert cluster.running()


def kill_up(cluster: Cluster, seen: Path, log: Path) -> bool:
    """Start ``up`` and kill it as soon as it has made a file; returns whether that was before the cluster was up."""
    cluster.down()
    with log.open("w") as said, subprocess.Popen([*COMMAND, "up"], cwd=ROOT, stdout=said, stderr=said) as started:
        try:
            eventually(lambda: seen.exists() or started.poll() is not None, 240, 0.01)  # it has limits of its own
        finally:
            started.kill()
    assert started.returncode in {0, -signal.SIGKILL}, log.read_text()
    return not cluster.running()


@pytest.mark.parametrize("seen", ["etcd", "node1/containerd.log"])
def test_up_after_up_was_killed(cluster: Cluster, seen: str, tmp_path: Path) -> None:
    # From containerd's start to a whole cluster it can be less than the moment that a busy machine takes to kill.
    assert any(kill_up(cluster, cluster.kubeconfig.parent / seen, tmp_path / "up.log") for _ in range(5))
    cluster.up()
    pod(cluster, "again")
    cluster.down()
    assert not any(traces().values())


def test_a_second_up_changes_nothing(cluster: Cluster) -> None:
    cluster.up()
    recorded = Registry(cluster.kubeconfig.parent).load()
    cluster.up()
    assert Registry(cluster.kubeconfig.parent).load() == recorded


def test_it_can_be_used_as_the_current_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.up()
    cluster.build(IMAGE, ROOT / "Dockerfile.worker", ROOT)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("RIVERMILL_CONTEXTS", NAME)
    monkeypatch.setenv("RIVERMILL_HOST_ADDRESS", cluster.host_address)
    monkeypatch.setenv("RIVERMILL_LOAD_COMMAND", f"{shlex.join(COMMAND)} load {{image}}")
    current = CurrentCluster()
    monkeypatch.setenv("KUBECONFIG", "/absent")  # a change of the context later on changes nothing
    try:
        current.load(IMAGE)
        pod = {"containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}], "restartPolicy": "Never"}
        current.kubectl("run", "loaded", f"--image={IMAGE}", f"--overrides={json.dumps({'spec': pod})}", "--restart=Never")
        phase = lambda: current.kubectl("get", "pod", "loaded", "-o", "jsonpath={.status.phase}").stdout  # noqa: E731
        eventually(lambda: phase() == "Succeeded")
        assert current.kubeconfig.stat().st_mode & 0o077 == 0
    finally:
        current.close()
    assert not current.kubeconfig.exists()


def test_nodes_reach_each_other_get_lost_and_come_back(cluster: Cluster) -> None:
    cluster.up(nodes=2)
    first, second = pod(cluster, "on-first", 1), pod(cluster, "on-second", 2)
    networks = [node.pod_network.removesuffix("0/24") for node in layout(NAME).nodes(2)]
    assert first.startswith(networks[0])
    assert second.startswith(networks[1])
    recorded = Registry(cluster.kubeconfig.parent).load()
    inside = output("pgrep", "-P", str(recorded["node1"].pid)).split()[0]
    # No packet is answered by the pause program; a refused connection comes from the pod's own network.
    probe = f"import socket; print(socket.socket().connect_ex(('{second}', 9)))"
    refused = output("nsenter", "-t", inside, "-n", sys.executable, "-c", probe).strip()
    assert refused == "111"
    cluster.kill_node(2)
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    ready = lambda: cluster.kubectl("get", "node", f"{NAME}-node2", "-o", path).stdout  # noqa: E731
    eventually(lambda: ready() == "Unknown", 90)
    cluster.start_node(2)
    eventually(lambda: ready() == "True")
    cluster.kubectl("delete", "pod", "on-second", "--timeout=60s")
    pod(cluster, "on-second-again", 2)


def test_a_taken_port_is_named(cluster: Cluster) -> None:
    cluster.down()
    port = layout(NAME).etcd_port
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the etcd before may not be over
        other.bind(("127.0.0.1", port))
        other.listen()
        done = subprocess.run([*COMMAND, "up"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    cluster.down()


def test_no_root_is_named() -> None:
    # Imported before, for Python itself may lie where only root may read.
    code = (
        "import os, sys; from devcluster.__main__ import main; sys.argv = ['devcluster', 'down']; "
        "os.setuid(65534); sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env={"PYTHONPATH": str(ROOT), "HOME": "/tmp"},
                          check=False, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1
    assert "needs root" in done.stderr
