"""The cluster of the current kubectl context, in the place of one of ours: kind, k3d, minikube, or a cloud's."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from devcluster import images, tools
from devcluster.access import AnyCluster
from devcluster.errors import DevclusterError
from devcluster.processes import run

#: Contexts that are nobody's production, and how an image gets to their nodes.
_LOADERS = {
    "kind-*": "kind load image-archive {archive} --name {cluster}",
    "k3d-*": "k3d image import {archive} --cluster {cluster}",
    "minikube": "minikube image load {archive}",
    "docker-desktop": "docker load --input {archive}",
    "rancher-desktop": "docker load --input {archive}",
}
_LOAD_SECONDS = 600


def loader(context: str, environment: Mapping[str, str]) -> str:
    """The command that brings an image to the nodes of a context, as a template. Pure.

    Args:
        context: name of the kubectl context.
        environment: ``RIVERMILL_CONTEXTS`` allows further contexts, comma-separated; ``RIVERMILL_LOAD_COMMAND`` replaces
            the command, with ``{archive}`` (path of a Docker archive), ``{image}`` and ``{cluster}``.

    Raises:
        DevclusterError: the context is not allowed, or there is no command for it.
    """
    allowed = [name.strip() for name in environment.get("RIVERMILL_CONTEXTS", "").split(",") if name.strip()]
    known = next((command for pattern, command in _LOADERS.items() if fnmatchcase(context, pattern)), None)
    if known is None and context not in allowed:
        raise DevclusterError(
            f"kubectl's current context {context!r} is none of {', '.join(_LOADERS)}: so that nothing is done to a cluster by "
            "mistake, name it in RIVERMILL_CONTEXTS if tests may install, change and delete objects there"
        )
    command = environment.get("RIVERMILL_LOAD_COMMAND") or known
    if command is None:
        raise DevclusterError(
            f"nothing is known about how images get to the nodes of {context!r}: set RIVERMILL_LOAD_COMMAND, "
            "for example 'docker load --input {archive}'"
        )
    return command


class CurrentCluster(AnyCluster):
    """The cluster that kubectl's current context names now; a later change of the context changes nothing here.

    Raises:
        DevclusterError: there is no context, it is not allowed, or it is not said how pods reach this computer.
    """

    def __init__(self) -> None:
        self._context = run([str(tools.kubectl()), "config", "current-context"], timeout=30).strip()
        self._loader = loader(self._context, os.environ)
        if not os.environ.get("RIVERMILL_HOST_ADDRESS"):
            raise DevclusterError("set RIVERMILL_HOST_ADDRESS to the address under which pods reach this computer")
        self._directory = tempfile.TemporaryDirectory(prefix="rivermill-")
        text = run([str(tools.kubectl()), "config", "view", "--minify", "--flatten", "--raw"], timeout=30)
        with os.fdopen(os.open(self.kubeconfig, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def kubeconfig(self) -> Path:
        """A copy of that one context."""
        return Path(self._directory.name) / "kubeconfig"

    @property
    def host_address(self) -> str:
        """The address under which pods reach this computer."""
        return os.environ["RIVERMILL_HOST_ADDRESS"]

    def load(self, *tags: str) -> None:
        """Bring built images to the nodes with the loader of this kind of cluster."""
        for tag in tags:
            archive = images.archive(tag)
            if not archive.exists():
                raise DevclusterError(f"image {tag} has not been built")
            values = {"archive": str(archive), "image": tag, "cluster": self._context.partition("-")[2]}
            run([part.format(**values) for part in shlex.split(self._loader)], timeout=_LOAD_SECONDS)

    def close(self) -> None:
        """Remove the copy of the context."""
        self._directory.cleanup()
