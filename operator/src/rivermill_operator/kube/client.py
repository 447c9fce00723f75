"""``Kube`` over the API server."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rivermill_operator.kube.cache import Cache, Key
from rivermill_operator.kube.port import FleetObjects, KubeError
from rivermill_operator.kube.rest import APPLY_PATCH, MERGE_PATCH, Rest
from rivermill_operator.kube.shared import Shared
from rivermill_operator.model import names
from rivermill_operator.model.observed import Verdict
from rivermill_operator.model.parse import by_scale
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.times import stamp

_NOT_FOUND = 404
#: Secrets and other autoscalers are read again after so long; a Secret that could not be read, sooner.
_FRESH_SECONDS, _FAILED_SECONDS = 15.0, 2.0
_LONGEST_MESSAGE = 1024
_APPS = "/apis/apps/v1"
_POLICY = "/apis/policy/v1"


class KubeClient:
    """Caches of Deployments and Pods, and every write the operator makes.

    Args:
        rest: the API server.
        wake: called with (namespace, JobQueue name) when an object of it changed.
        instance: this operator's name, for Events.
        namespaces: what is watched; empty is everything, which needs rights over the whole cluster.
    """

    def __init__(self, rest: Rest, wake: Callable[[Key], None], instance: str, namespaces: Sequence[str]) -> None:
        self._rest = rest
        self._instance = instance
        scopes = {namespace: f"/namespaces/{namespace}" for namespace in namespaces} or {"": ""}
        self._deployments = {name: Cache(rest, f"{_APPS}{scope}/deployments", wake) for name, scope in scopes.items()}
        self._pods = {name: Cache(rest, f"/api/v1{scope}/pods", wake) for name, scope in scopes.items()}
        self._secrets = Shared(self._read_secret, _FRESH_SECONDS, _FAILED_SECONDS)
        self._scalers = Shared(self._list_scalers, _FRESH_SECONDS, _FRESH_SECONDS)

    @property
    def caches(self) -> list[Cache]:
        """Every cache; each has to be run."""
        return [*self._deployments.values(), *self._pods.values()]

    def fleet(self, namespace: str, name: str) -> FleetObjects:
        """The objects of one ``JobQueue``, from the cache."""
        key = (namespace, names.label_value(name))
        return FleetObjects(self._of(self._deployments, namespace).get(key), self._of(self._pods, namespace).get(key))

    @staticmethod
    def _of(caches: Mapping[str, Cache], namespace: str) -> Cache:
        return caches[namespace if namespace in caches else ""]

    async def secret(self, namespace: str, name: str, *, within: float | None = None) -> Mapping[str, bytes] | None:
        """A Secret's data, or None if there is no such Secret; at most 15 s old, or ``within`` seconds where it is doubted."""
        return await self._secrets.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", within=within)

    async def _read_secret(self, path: str) -> Mapping[str, bytes] | None:
        try:
            secret = await self._rest.request("GET", path)
        except KubeError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    async def conflict(self, namespace: str, name: str, deployments: Sequence[str]) -> str | None:
        """A sentence about an autoscaler that targets a ``JobQueue`` or its Deployments, or None; listed every 15 s at most."""
        scalers = await self._scalers.get(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
        if (names.KIND, name) in scalers:
            scaler = scalers[names.KIND, name]
            return (
                f"HorizontalPodAutoscaler {scaler} sets manualReplicas of this JobQueue: delete it, and remove manualReplicas."
            )
        for deployment in deployments:
            if ("Deployment", deployment) in scalers:
                scaler = scalers["Deployment", deployment]
                return f"HorizontalPodAutoscaler {scaler} scales Deployment {deployment} too: delete one of the two writers."
        return None

    async def _list_scalers(self, path: str) -> Mapping[tuple[str, str], str]:
        """Kind and name of a target → the autoscaler that has it."""
        answer = await self._rest.request("GET", path, query={"resourceVersion": "0"})
        targets = [(item["spec"]["scaleTargetRef"], item["metadata"]["name"]) for item in answer.get("items") or []]
        return {(target["kind"], target["name"]): name for target, name in targets}

    async def make_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Make a Deployment with no replicas if it does not exist; applied it is not yet.

        Applied without ``spec.replicas``, a new Deployment would default to one replica, so it is created under another
        field manager first; the apply then owns everything but the replicas.
        """
        name, path = manifest["metadata"]["name"], f"{_APPS}/namespaces/{namespace}/deployments"
        cache = self._of(self._deployments, namespace)
        if any(d["metadata"]["name"] == name for d in cache.get(self._key(namespace, manifest))):
            return
        # Left to itself, the API server drops what it does not know, such as a misspelt field of the template.
        query = {"fieldManager": f"{names.FIELD_MANAGER}-create", "fieldValidation": "Strict"}
        try:
            await self._rest.request("POST", path, query=query, body=_first(manifest))
        except KubeError as error:
            if not error.stale:
                raise

    async def apply_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Server-side apply of a Deployment that was made."""
        path = f"{_APPS}/namespaces/{namespace}/deployments/{manifest['metadata']['name']}"
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        await self._rest.request("PATCH", path, query=query, body=dict(manifest), content_type=APPLY_PATCH)

    async def apply_budget(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        """Server-side apply of a PodDisruptionBudget."""
        path = f"{_POLICY}/namespaces/{namespace}/poddisruptionbudgets/{manifest['metadata']['name']}"
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        await self._rest.request("PATCH", path, query=query, body=dict(manifest), content_type=APPLY_PATCH)

    async def set_verdict(
        self, namespace: str, name: str, verdict: Verdict, trial: tuple[int, int] | None, resource_version: str
    ) -> None:
        """Annotate a Deployment, if it is still at this version; ``trial`` are attempts that failed and that ended."""
        attempts = None if trial is None else f"{trial[0]}/{trial[1]}"
        annotations = {names.VERDICT_ANNOTATION: verdict.value, names.TRIAL_ANNOTATION: attempts}
        body = {"metadata": {"resourceVersion": resource_version, "annotations": annotations}}
        await self._patch(f"{_APPS}/namespaces/{namespace}/deployments/{name}", body)

    async def mark_live(self, namespace: str, name: str, since: datetime) -> None:
        """Annotate a Deployment with when its template last became the current one."""
        body = {"metadata": {"annotations": {names.LIVE_ANNOTATION: since.isoformat()}}}
        await self._patch(f"{_APPS}/namespaces/{namespace}/deployments/{name}", body)

    @staticmethod
    def _key(namespace: str, manifest: Mapping[str, Any]) -> Key:
        return namespace, manifest["metadata"]["labels"][names.JOB_QUEUE_LABEL]

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        """Write ``/scale``, if the Deployment is still at this version."""
        body = {"metadata": {"resourceVersion": resource_version}, "spec": {"replicas": replicas}}
        await self._patch(f"{_APPS}/namespaces/{namespace}/deployments/{name}/scale", body)

    async def set_protection(self, namespace: str, pod: str, protected: bool, resource_version: str) -> None:
        """Tell node autoscalers whether they may remove a pod, if it is still at this version."""
        annotations = {name: busy if protected else idle for name, (busy, idle) in names.PROTECTION.items()}
        body = {"metadata": {"resourceVersion": resource_version, "annotations": annotations}}
        await self._patch(f"/api/v1/namespaces/{namespace}/pods/{pod}", body)

    async def set_deletion_cost(self, namespace: str, pod: str, cost: int | None, resource_version: str) -> None:
        """Annotate a pod, if it is still at this version."""
        annotations = {names.DELETION_COST: None if cost is None else str(cost)}
        body = {"metadata": {"resourceVersion": resource_version, "annotations": annotations}}
        await self._patch(f"/api/v1/namespaces/{namespace}/pods/{pod}", body)

    async def delete_version(self, namespace: str, name: str, resource_version: str) -> None:
        """Delete a Deployment, if it is still at this version, and before it its PodDisruptionBudget.

        The other way round nobody would know of the budget any more when its removal failed. The Deployment does not count as
        applied from then on, so that it gets its budget back where it stays after all.
        """
        path = f"{_APPS}/namespaces/{namespace}/deployments/{name}"
        unfinished = {"resourceVersion": resource_version, "annotations": {names.MANIFEST_ANNOTATION: None}}
        answer = await self._patch(path, {"metadata": unfinished})
        try:
            await self._rest.request("DELETE", f"{_POLICY}/namespaces/{namespace}/poddisruptionbudgets/{name}")
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
        preconditions = {"resourceVersion": answer["metadata"]["resourceVersion"]}
        await self._rest.request("DELETE", path, body={"preconditions": preconditions, "propagationPolicy": "Background"})

    async def release_ownership(self, namespace: str, name: str) -> None:
        """Remove the owner references of a version's objects, so that they outlive their ``JobQueue``."""
        body = {"metadata": {"ownerReferences": None}}
        await self._patch(f"{_APPS}/namespaces/{namespace}/deployments/{name}", body)
        await self._patch(f"{_POLICY}/namespaces/{namespace}/poddisruptionbudgets/{name}", body)

    async def gone(self, job_queue: JobQueue) -> bool:
        """Whether this ``JobQueue`` is there no more; one of its name that was made since is another."""
        return await self._metadata(job_queue) is None

    async def clear_manual(self, job_queue: JobQueue) -> None:
        """Take ``manualReplicas`` out of the spec, if that is still as it was seen, and no manifest has the number by now."""
        meta = await self._metadata(job_queue)
        if meta is not None and meta["generation"] == job_queue.generation and by_scale(meta):
            spec = {"scaling": {"manualReplicas": None}}
            await self._patch(_path(job_queue), {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": spec})

    async def remove_finalizer(self, job_queue: JobQueue) -> None:
        """Let a ``JobQueue`` go, if it is still there: remove our finalizer, and only ours."""
        meta = await self._metadata(job_queue)
        if meta is not None:
            left = [f for f in meta.get("finalizers") or [] if f != names.FINALIZER]
            body = {"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": left}}
            await self._patch(_path(job_queue), body)

    async def _metadata(self, job_queue: JobQueue) -> Mapping[str, Any] | None:
        try:
            meta: Mapping[str, Any] = (await self._rest.request("GET", _path(job_queue)))["metadata"]
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return meta if meta["uid"] == job_queue.uid else None

    async def write_status(self, job_queue: JobQueue, status: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """Write these fields of a ``JobQueue``'s status, each as a whole, and leave the others; ``old`` is what there was."""
        wanted = {key: _replacing(value, old.get(key)) for key, value in status.items()}
        # Refused with 409 where the object of this name is another one by now.
        await self._patch(f"{_path(job_queue)}/status", {"metadata": {"uid": job_queue.uid}, "status": wanted})

    async def emit_event(self, job_queue: JobQueue, kind: str, reason: str, message: str) -> None:
        """Make an Event on a ``JobQueue``; ``kind`` is Normal or Warning."""
        now = datetime.now(UTC)
        reporter = f"{names.GROUP}/operator"
        body = {
            # Of the core group: that of events.k8s.io forbids the times that `kubectl get events` is sorted by.
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{names.shorten(job_queue.name, 50)}-", "namespace": job_queue.namespace},
            "eventTime": stamp(now, "microseconds"),
            "firstTimestamp": stamp(now),
            "lastTimestamp": stamp(now),
            "count": 1,
            "type": kind,
            "reason": reason,
            # The API server counts bytes.
            "message": message.encode()[:_LONGEST_MESSAGE].decode(errors="ignore"),
            "action": "Scale",
            "reportingComponent": reporter,
            "reportingInstance": self._instance,
            "source": {"component": reporter},
            "involvedObject": {
                "apiVersion": f"{names.GROUP}/{names.VERSION}",
                "kind": names.KIND,
                "name": job_queue.name,
                "namespace": job_queue.namespace,
                "uid": job_queue.uid,
            },
        }
        await self._rest.request("POST", f"/api/v1/namespaces/{job_queue.namespace}/events", body=body)

    async def _patch(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._rest.request("PATCH", path, query=query, body=dict(body), content_type=MERGE_PATCH)


def _first(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A Deployment as it is made: with no replicas, and without the digest of what was applied, for that may be refused."""
    meta = manifest["metadata"]
    left = {key: value for key, value in meta["annotations"].items() if key != names.MANIFEST_ANNOTATION}
    return {**manifest, "metadata": {**meta, "annotations": left}, "spec": {**manifest["spec"], "replicas": 0}}


def _path(job_queue: JobQueue) -> str:
    return names.path(job_queue.namespace, job_queue.name)


def _replacing(value: Any, old: Any) -> Any:
    """A merge patch that turns ``old`` into ``value``: what is there no more has to be named."""
    if not isinstance(value, Mapping) or not isinstance(old, Mapping):
        return value
    return dict.fromkeys(old) | {key: _replacing(item, old.get(key)) for key, item in value.items()}
