"""What people and starting operators ask the API server for: whether there are JobQueues at all, and one of them."""

from __future__ import annotations

from typing import Any

from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.model import names

_NOT_FOUND = 404


async def check_crd(rest: Rest) -> None:
    """Raise KubeError where the resource is not installed, or the API server cannot be asked."""
    try:
        served = await rest.request("GET", f"/apis/{names.GROUP}/{names.VERSION}")
    except KubeError as error:
        if error.status != _NOT_FOUND:
            raise
        served = {}
    if not any(resource["name"] == names.PLURAL for resource in served.get("resources", [])):
        raise KubeError(0, f"{names.PLURAL}.{names.GROUP} is not installed: install the chart rivermill-crds first")


async def read(rest: Rest, namespace: str, name: str) -> dict[str, Any]:
    """The object of a ``JobQueue``.

    Raises:
        KubeError: there is none, which is said in a sentence, or the API server cannot be asked.
    """
    try:
        return await rest.request("GET", names.path(namespace, name))
    except KubeError as error:
        if error.status != _NOT_FOUND:
            raise
    await check_crd(rest)
    raise KubeError(0, f"there is no JobQueue {namespace}/{name}: `kubectl get jobqueues -A` lists them")
