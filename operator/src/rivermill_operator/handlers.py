"""What kopf calls: one daemon for each ``JobQueue``, and wake-ups."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from rivermill_operator.control.loop import Loop, Ports
from rivermill_operator.model import names

#: A drain takes as long as its jobs; on operator exit the loop ends by itself at once.
_PATIENCE_SECONDS = 365 * 24 * 3600.0


def register(registry: kopf.OperatorRegistry, ports: Ports) -> None:
    """Register the handlers."""
    resource = (names.GROUP, names.VERSION, names.PLURAL)

    @kopf.daemon(*resource, registry=registry, cancellation_backoff=_PATIENCE_SECONDS)
    async def job_queue(namespace: str | None, name: str, body: kopf.Body, **_: Any) -> None:
        # kopf's own stop flag is not asked: a deletion is drained however long it takes, an exit is told by the wakes.
        await Loop((namespace or "", name), lambda: body, ports).run()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # The same order as in kube.rest: the pod's service account, else KUBECONFIG.
        account = kopf.login_with_service_account(**kwargs)
        if account is None:
            return kopf.login_with_kubeconfig(**kwargs)
        # By address, as every other client does: kopf's own choice is a name, which needs the cluster's DNS.
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        return dataclasses.replace(account, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")

    seen: dict[str, tuple[Any, Any]] = {}

    @kopf.on.event(*resource, registry=registry)
    async def changed(namespace: str | None, name: str, uid: str, meta: kopf.Meta, type: str | None, **_: Any) -> None:  # noqa: A002
        # The loop's own status writes are no news to it.
        wanted = (meta.get("generation"), meta.get("deletionTimestamp"))
        if seen.get(uid) != wanted:
            ports.wakes.wake((namespace or "", name))
        seen[uid] = wanted
        if type == "DELETED":
            seen.pop(uid, None)


def configure(settings: kopf.OperatorSettings) -> None:
    """Set what production needs beside kopf's defaults."""
    # Looking at CRDs and namespaces all the time would need rights that nothing else does.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8)
    settings.posting.enabled = False
    settings.execution.max_workers = 4
    settings.persistence.finalizer = names.FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    settings.background.instant_exit_timeout = 0.1
    settings.process.ultimate_exiting_timeout = 25
