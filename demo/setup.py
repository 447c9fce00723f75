"""Everything that must stand before the first job: Postgres, cluster, images, charts, JobQueue."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from devcluster import Cluster, DevclusterError, Postgres, prepare_packages, together
from devcluster.images import image_digest
from devcluster.paths import states
from devcluster.progress import say

ROOT = Path(__file__).resolve().parent.parent
JOB_QUEUE = ROOT / "examples" / "library" / "jobqueue.yaml"
NAMESPACE = "default"
IMAGES = (
    ("localhost/rivermill/rivermill:0.1.0", "Dockerfile.worker", "."),
    ("localhost/rivermill/rivermill-operator:0.1.0", "Dockerfile.operator", "."),
    ("localhost/rivermill/library:0.1.0", "examples/library/Dockerfile", "examples/library"),
)
IMMEDIATE = '{"spec":{"deletionPolicy":"Immediate"}}'
_READY_SECONDS = 90
_LEFTOVER_SECONDS = 20


def start(cluster: Cluster, clean_up: contextlib.ExitStack, *beside: Callable[[], object]) -> str:
    """Bring everything up and return the database's URL.

    Args:
        cluster: is started.
        clean_up: gets what has to be stopped in the end.
        beside: steps done while the cluster starts, once Debian's packages are installed.

    Raises:
        DevclusterError: a part does not start.
    """
    prepare_packages()
    cluster.make_network()
    servers: list[Postgres] = []
    together(cluster.up, lambda: servers.append(_database(cluster, clean_up)), partial(_build, cluster), *beside)
    (postgres,) = servers
    _install(cluster)
    _apply(cluster, postgres.url(cluster.host_address))
    return postgres.url()


def _database(cluster: Cluster, clean_up: contextlib.ExitStack) -> Postgres:
    directory = states().with_name(f"{states().name}-demo")
    end_leftover(directory / "data")
    shutil.rmtree(directory, ignore_errors=True)
    clean_up.callback(shutil.rmtree, directory, ignore_errors=True)
    postgres = Postgres(directory, listen=("127.0.0.1", cluster.host_address))
    clean_up.callback(postgres.stop)
    postgres.start()
    say("migrating the database")
    command = [str(Path(sys.executable).with_name("rivermill")), "migrate", "up"]
    env = os.environ | {"DATABASE_URL": postgres.url()}
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=_READY_SECONDS)
    if done.returncode != 0:
        raise DevclusterError(f"the database cannot be migrated: {done.stderr.strip()}")
    return postgres


def end_leftover(data: Path) -> None:
    """End a server that works in ``data``: one that a killed demo has left behind."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if not _works_in(pid, data):
        return
    say("ending the Postgres that a killed demo has left")
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while _works_in(pid, data):
        if time.monotonic() > deadline:
            raise DevclusterError(f"process {pid}, a Postgres that a killed demo has left, does not end: kill it")
        time.sleep(0.05)


def _works_in(pid: int, data: Path) -> bool:
    """Whether a process was started with this directory; a zombie has no command line any more."""
    try:
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _build(cluster: Cluster) -> None:
    for tag, dockerfile, context in IMAGES:
        cluster.build(tag, ROOT / dockerfile, ROOT / context)


def _install(cluster: Cluster) -> None:
    cluster.load(IMAGES[1][0], IMAGES[2][0])
    say("installing the charts")
    where = ("--namespace", "rivermill-system", "--create-namespace")
    cluster.helm("upgrade", "--install", "rivermill-crds", str(ROOT / "charts" / "rivermill-crds"), *where)
    cluster.helm(
        "upgrade", "--install", "rivermill", str(ROOT / "charts" / "rivermill"), *where,
        "--set", "image.registry=localhost", "--set", "image.tag=0.1.0",
        # A rebuilt image has the same tag; the annotation makes new pods of it.
        "--set", f"podAnnotations.image={image_digest(IMAGES[1][0])[:16]}", "--wait", "--timeout", f"{_READY_SECONDS}s",
    )  # fmt: skip


def _apply(cluster: Cluster, url: str) -> None:
    # One that a killed demo has left cannot drain: its database is gone.
    cluster.kubectl("patch", "jobqueue", "library", "--type=merge", "-p", IMMEDIATE, check=False)
    cluster.kubectl("delete", "jobqueue", "library", "--ignore-not-found", "--timeout=60s")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "library-db"},
        "data": {"url": base64.b64encode(url.encode()).decode()},
    }
    cluster.kubectl("apply", "-f", "-", text=json.dumps(secret))
    cluster.kubectl("apply", "-f", str(JOB_QUEUE))
    say("waiting for the operator to see the JobQueue")
    deadline = time.monotonic() + _READY_SECONDS
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    while cluster.kubectl("get", "jobqueue", "library", "-o", path, check=False).stdout != "True":
        if time.monotonic() > deadline:
            raise DevclusterError("the JobQueue does not become Ready:\n" + describe(cluster))
        time.sleep(0.3)


def describe(cluster: Cluster) -> str:
    """What to look at when something went wrong."""
    parts = (
        cluster.kubectl("get", "jobqueues,deployments,pods", "-A", check=False),
        cluster.kubectl("get", "jobqueue", "library", "-o", "jsonpath={.status}", check=False),
        cluster.kubectl("logs", "-n", "rivermill-system", "-l", "app.kubernetes.io/name=rivermill", "--tail=15", check=False),
    )
    return "\n".join(part.stdout.strip() for part in parts)
