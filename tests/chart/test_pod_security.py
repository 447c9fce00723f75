"""The operator's pod is restricted whatever the values, and the judge of that can say no."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.chart.helm import Helm, Manifest, pod_of
from tests.chart.pod_security import restricted_violations
from tests.chart.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_pod_is_restricted(helm: Helm, variant: str) -> None:
    pod = pod_of(helm.render(VARIANTS[variant]))["spec"]
    assert restricted_violations(pod) == []
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/tmp"}


def put(target: Manifest, path: tuple[Any, ...], value: Any) -> Manifest:
    changed = copy.deepcopy(target)
    node: Any = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        (("hostNetwork",), True, "spec.hostNetwork"),
        (("hostPID",), True, "spec.hostPID"),
        (("securityContext", "runAsUser"), 0, "spec.securityContext.runAsUser"),
        (("securityContext", "sysctls"), [{"name": "a", "value": "b"}], "spec.securityContext.sysctls"),
        (("securityContext", "runAsNonRoot"), False, "containers[operator].runAsNonRoot"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "containers[operator].seccompProfile"),
        (("volumes",), [{"name": "host", "hostPath": {"path": "/"}}], "volumes[host]"),
        (("containers", 0, "securityContext", "privileged"), True, "containers[operator].privileged"),
        (("containers", 0, "securityContext", "capabilities"), {}, "containers[operator].capabilities.drop"),
        (("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"], "containers[operator].capabilities.add"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "containers[operator].runAsUser"),
        (
            ("containers", 0, "securityContext", "allowPrivilegeEscalation"),
            True,
            "containers[operator].allowPrivilegeEscalation",
        ),
        (("containers", 0, "ports", 0, "hostPort"), 80, "containers[operator].ports.hostPort"),
    ],
)
def test_judge_refuses(helm: Helm, path: tuple[Any, ...], value: Any, violation: str) -> None:
    pod = pod_of(helm.render({}))["spec"]
    assert restricted_violations(put(pod, path, value)) == [violation]
