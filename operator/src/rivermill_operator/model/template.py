"""Whether a pod template can be laid over the operator's; the API server judges the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Lists of the pod that are merged by a key of their items, as ``kubectl apply`` does.
LIST_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "name",
}
GRACE_PERIOD = "terminationGracePeriodSeconds"
_POD_LISTS = ("containers", "initContainers", "volumes")
_CONTAINER_LISTS = ("env", "volumeMounts", "ports")


class TemplateError(ValueError):
    """The template has another shape than a pod's; the message begins with the path of the field."""


def check_template(template: Any, path: str) -> Mapping[str, Any]:
    """Check its shape as far as merging goes by it.

    Raises:
        TemplateError: an object or a list is something else, null included, or the grace period is no time to stop in.
    """
    whole = _object(template, path)
    metadata = _child(whole, "metadata", path)
    for key in ("labels", "annotations"):
        _child(metadata, key, f"{path}.metadata")
    pod = _child(whole, "spec", path)
    grace = pod.get(GRACE_PERIOD, 1)
    if isinstance(grace, bool) or not isinstance(grace, int) or grace < 1:
        raise TemplateError(f"{path}.spec.{GRACE_PERIOD}: must be a whole number from 1, not {shown(grace)}")
    for key in _POD_LISTS:
        for place, item in _items(pod, key, f"{path}.spec"):
            if key != "volumes":
                for inner in _CONTAINER_LISTS:
                    _items(item, inner, place)
    return whole


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"{path}: must be an object, not {shown(value)}; leave it out to change nothing")
    return value


def _child(parent: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    return _object(parent.get(key, {}), f"{path}.{key}")


def _items(parent: Mapping[str, Any], key: str, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Each item and where it stands."""
    value = parent.get(key, [])
    if not isinstance(value, list):
        raise TemplateError(f"{path}.{key}: must be a list, not {shown(value)}; leave it out to change nothing")
    found = []
    for index, item in enumerate(value):
        place = f"{path}.{key}[{index}]"
        by = LIST_KEYS[key]
        # Ports may do without a name.
        if not isinstance(_object(item, place).get(by, ""), str) or (by not in item and key != "ports"):
            raise TemplateError(f"{place}.{by}: must be a text, for items are merged by it")
        found.append((place, item))
    return found


def shown(value: Any) -> str:
    """A value for a message, as far as it needs to be seen."""
    return "null" if value is None else repr(value)[:40]
