"""The Pod Security Standard `restricted`, for the fields a pod template of ours can have.

Written from https://kubernetes.io/docs/concepts/security/pod-security-standards/ ; on the dev cluster the API server's own
admission judges the same pod.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
PROFILES = {"RuntimeDefault", "Localhost"}


def restricted_violations(pod: dict[str, Any]) -> list[str]:
    """What in a pod's spec the standard refuses; empty when it is restricted."""
    shared = pod.get("securityContext", {})
    found = [f"spec.{key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [f"volumes[{v['name']}]" for v in pod.get("volumes", []) if not (v.keys() - {"name"}) <= VOLUMES]
    if shared.get("runAsUser") == 0:
        found.append("spec.securityContext.runAsUser")
    if shared.get("sysctls"):
        found.append("spec.securityContext.sysctls")
    for field in ("initContainers", "containers"):
        for container in pod.get(field, []):
            found += [f"{field}[{container['name']}].{key}" for key in _container(container, shared)]
    return found


def _container(container: dict[str, Any], shared: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities.drop"
    if not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("runAsUser") == 0:
        yield "runAsUser"
    if own.get("seccompProfile", shared.get("seccompProfile", {})).get("type") not in PROFILES:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "ports.hostPort"
