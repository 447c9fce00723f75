"""Looks at the fleet from outside, independently of the operator."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from devcluster import Cluster, DevclusterError, tools

SELECTOR = "rivermill.dev/jobqueue=library"


class Watch:
    """Follows objects and calls back with the fields of each line of a JSONPath template."""

    def __init__(self, cluster: Cluster, what: Sequence[str], template: str, on_line: Callable[[list[str]], None]) -> None:
        command = [str(tools.kubectl()), "--kubeconfig", str(cluster.kubeconfig), "get", *what, "--watch",
                   "-o", f"jsonpath={template}{{'\\n'}}"]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._on_line = on_line
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._on_line(line.rstrip("\n").split("|"))

    def check(self) -> None:
        """Raise DevclusterError if it does not watch any more."""
        if self._process.poll() is not None:
            raise DevclusterError("kubectl get --watch ended: does the API server still run?")

    def close(self) -> None:
        """Stop watching."""
        self._process.terminate()
        self._process.wait(5)
        self._thread.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Fleet:
    """What is known of replicas and pods, with times."""

    def __init__(self, cluster: Cluster) -> None:
        self.replicas = 0
        self.replicas_written_at: float | None = None
        self.first_ready_at: float | None = None
        self.peak = 0
        self.ready: dict[str, bool] = {}
        self.sentence = ""
        #: Name of each pod that was told to end, and when that was seen (seconds since the epoch), by uid.
        self.deleted: dict[str, tuple[str, float]] = {}
        self._watches = [
            Watch(cluster, ["deployments", "-l", SELECTOR], "{.metadata.name}|{.spec.replicas}", self._deployment),
            Watch(cluster, ["jobqueue", "library"], "{.status.decision.sentence}", self._job_queue),
            Watch(
                cluster,
                ["pods", "-l", SELECTOR],
                "{.metadata.uid}|{.metadata.name}|{.metadata.deletionTimestamp}|{.status.conditions[?(@.type=='Ready')].status}",
                self._pod,
            ),
        ]

    def forget_replicas(self) -> None:
        """Note anew when replicas are written."""
        self.replicas_written_at = None

    def _deployment(self, fields: list[str]) -> None:
        self.replicas = int(fields[1] or 0)
        if self.replicas and self.replicas_written_at is None:
            self.replicas_written_at = time.time()

    def _job_queue(self, fields: list[str]) -> None:
        self.sentence = "|".join(fields)

    def _pod(self, fields: list[str]) -> None:
        uid, name, deletion, ready = fields
        if deletion:
            self.ready.pop(uid, None)
            self.deleted.setdefault(uid, (name, time.time()))
            return
        self.ready[uid] = ready == "True"
        if ready == "True" and self.first_ready_at is None:
            self.first_ready_at = time.time()
        self.peak = max(self.peak, len(self.ready))

    async def busy_deletions(self, connection: Any) -> int:
        """How many pods were told to end while they ran a job, by what their jobs' rows say after the run."""
        busy = 0
        for name, seen in self.deleted.values():
            busy += await connection.fetchval(
                "SELECT EXISTS (SELECT FROM river_job WHERE starts_with(attempted_by[array_upper(attempted_by, 1)], $1) "
                "AND attempted_at < to_timestamp($2) AND coalesce(finalized_at, 'infinity') > to_timestamp($2))",
                name.replace(".", "_") + "_",
                seen,
            )
        return busy

    def check(self) -> None:
        """Raise DevclusterError if the fleet cannot be seen any more."""
        for watch in self._watches:
            watch.check()

    def close(self) -> None:
        """Stop watching."""
        for watch in self._watches:
            watch.close()
