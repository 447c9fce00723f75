"""What the control loop needs of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from rivermill_operator.model.observed import Verdict
from rivermill_operator.model.spec import JobQueue

#: What the API server says, with a 500, of an applied object whose fields its schema does not know.
_NOT_OF_THE_SCHEMA = "failed to create typed patch object"


class KubeError(Exception):
    """The API server refused a request or did not answer; ``status`` is 0 without an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status

    @property
    def stale(self) -> bool:
        """Whether the object has changed or gone since it was seen: look again."""
        return self.status in (404, 409)

    @property
    def refused(self) -> bool:
        """Whether the API server understood the request and will not have it: only another spec, or other rights, help."""
        if self.status == 500 and _NOT_OF_THE_SCHEMA in str(self):  # noqa: PLR2004 - HTTP
            return True
        return 400 <= self.status < 500 and not self.stale and self.status not in (408, 410, 429)  # noqa: PLR2004 - HTTP


@dataclass(frozen=True, slots=True)
class FleetObjects:
    """The Deployments and Pods of one ``JobQueue``, as the API server's JSON."""

    deployments: Sequence[Mapping[str, Any]]
    pods: Sequence[Mapping[str, Any]]


class Kube(Protocol):
    """Reads from a cache and writes through the API server. Every method may raise ``KubeError``."""

    def fleet(self, namespace: str, name: str) -> FleetObjects:
        """The objects of one ``JobQueue``, from the cache."""
        ...

    async def secret(self, namespace: str, name: str, *, within: float | None = None) -> Mapping[str, bytes] | None:
        """A Secret's data of a moment ago, or within so many seconds where it is doubted; None if there is no such Secret."""
        ...

    async def conflict(self, namespace: str, name: str, deployments: Sequence[str]) -> str | None:
        """A sentence about an autoscaler that targeted a ``JobQueue`` or one of its Deployments a moment ago, or None."""
        ...

    async def make_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Make a Deployment with no replicas if it does not exist; applied it is not yet. Unknown fields are refused."""
        ...

    async def apply_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Server-side apply of a Deployment that was made. Unknown fields are refused."""
        ...

    async def apply_budget(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Server-side apply of a PodDisruptionBudget."""
        ...

    async def set_verdict(
        self, namespace: str, name: str, verdict: Verdict, trial: tuple[int, int] | None, resource_version: str
    ) -> None:
        """Annotate a Deployment, if it is still at this version; ``trial`` are attempts that failed and that ended."""
        ...

    async def mark_live(self, namespace: str, name: str, since: datetime) -> None:
        """Annotate a Deployment with when its template last became the current one."""
        ...

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        """Write ``/scale``, if the Deployment is still at this version."""
        ...

    async def set_protection(self, namespace: str, pod: str, protected: bool, resource_version: str) -> None:
        """Tell node autoscalers whether they may remove a pod, if it is still at this version."""
        ...

    async def set_deletion_cost(self, namespace: str, pod: str, cost: int | None, resource_version: str) -> None:
        """Annotate a pod, if it is still at this version."""
        ...

    async def delete_version(self, namespace: str, name: str, resource_version: str) -> None:
        """Delete a Deployment, if it is still at this version, and before it its PodDisruptionBudget."""
        ...

    async def release_ownership(self, namespace: str, name: str) -> None:
        """Remove the owner references of a version's objects, so that they outlive their ``JobQueue``."""
        ...

    async def gone(self, job_queue: JobQueue) -> bool:
        """Whether this ``JobQueue`` is there no more; one of its name that was made since is another."""
        ...

    async def clear_manual(self, job_queue: JobQueue) -> None:
        """Take ``manualReplicas`` out of the spec, if that is still as it was seen, and no manifest has the number by now."""
        ...

    async def remove_finalizer(self, job_queue: JobQueue) -> None:
        """Let a ``JobQueue`` go, if it is still there."""
        ...

    async def write_status(self, job_queue: JobQueue, status: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """Write these fields of a ``JobQueue``'s status, each as a whole, and leave the others; ``old`` is what there was."""
        ...

    async def emit_event(self, job_queue: JobQueue, kind: str, reason: str, message: str) -> None:
        """Make an Event on a ``JobQueue``; ``kind`` is Normal or Warning."""
        ...
