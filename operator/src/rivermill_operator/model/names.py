"""Names, labels and annotations of everything the operator makes."""

from __future__ import annotations

import hashlib

GROUP = "rivermill.dev"
VERSION = "v1alpha1"
PLURAL = "jobqueues"
KIND = "JobQueue"
FINALIZER = f"{GROUP}/operator"
FIELD_MANAGER = "rivermill-operator"
MANAGED_BY = "rivermill"
JOB_QUEUE_LABEL = f"{GROUP}/jobqueue"
HASH_LABEL = f"{GROUP}/template-hash"
MANIFEST_ANNOTATION = f"{GROUP}/manifest-hash"
VERDICT_ANNOTATION = f"{GROUP}/verdict"
LIVE_ANNOTATION = f"{GROUP}/live-since"
TRIAL_ANNOTATION = f"{GROUP}/trial"
#: What keeps node autoscalers from removing a pod, and the value that does so; the other value lets them.
PROTECTION = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": ("false", "true"),
    "karpenter.sh/do-not-disrupt": ("true", "false"),
}
#: The container that works, whatever others the template adds.
WORKER_CONTAINER = "worker"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
MANAGED_SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY}"

_MAX_LABEL = 63
_MAX_DEPLOYMENT = 40
_DIGEST = 8


def shorten(name: str, limit: int) -> str:
    """The name itself if it fits, else its beginning and a digest, so that different names stay different."""
    return name if len(name) <= limit else _digested(name, name, limit)


def _digested(name: str, whole: str, limit: int) -> str:
    """The beginning of a name, and a digest of what it stands for."""
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{name[: limit - _DIGEST - 1].rstrip('-.')}-{digest}"


def path(namespace: str, job_queue: str) -> str:
    """Where the API server has a ``JobQueue``."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{job_queue}"


def label_value(job_queue: str) -> str:
    """What the labels of its objects call a ``JobQueue``: its name, if that fits."""
    return shorten(job_queue, _MAX_LABEL)


def deployment_name(job_queue: str, template_hash: str) -> str:
    """The Deployment of one version of a fleet; short enough that its pods' names fit into a label, and without dots.

    A name with dots has a digest, or ``a.b`` and ``a-b`` would be one.
    """
    plain = job_queue.replace(".", "-")
    name = shorten(plain, _MAX_DEPLOYMENT) if plain == job_queue else _digested(plain, job_queue, _MAX_DEPLOYMENT)
    return f"{name}-{template_hash}"


def labels(job_queue: str, template_hash: str) -> dict[str, str]:
    """Labels of one version's Deployment and pods, and its selector."""
    return {
        "app.kubernetes.io/name": "rivermill-worker",
        "app.kubernetes.io/managed-by": MANAGED_BY,
        "app.kubernetes.io/instance": label_value(job_queue),
        JOB_QUEUE_LABEL: label_value(job_queue),
        HASH_LABEL: template_hash,
    }


def fleet_selector(job_queue: str) -> str:
    """The label selector of all pods of one ``JobQueue``."""
    return f"{JOB_QUEUE_LABEL}={label_value(job_queue)}"
