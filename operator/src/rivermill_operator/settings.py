"""What the operator process is told by its environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting is wrong; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting.

    Attributes:
        namespaces: namespaces to watch; empty is all.
        lease_name: the Lease that replicas elect with.
        namespace: where this operator runs, and its Lease is.
        instance: this replica's name.
        http_port: of ``/livez``, ``/readyz`` and ``/metrics``.
    """

    namespaces: tuple[str, ...] = ()
    lease_name: str = "rivermill-operator"
    namespace: str = "default"
    instance: str = "rivermill-operator"
    http_port: int = 8080
    log_level: str = "info"
    log_format: str = "json"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: a value is wrong.
        """
        env = os.environ if environ is None else environ
        port = env.get("RIVERMILL_HTTP_PORT", "8080")
        if not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the highest port
            raise SettingsError(f"RIVERMILL_HTTP_PORT {port!r}: use a port of 0 to 65535")
        level, style = env.get("RIVERMILL_LOG_LEVEL", "info").lower(), env.get("RIVERMILL_LOG_FORMAT", "json").lower()
        if level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"RIVERMILL_LOG_LEVEL {level!r}: use debug, info, warning or error")
        if style not in ("json", "plain"):
            raise SettingsError(f"RIVERMILL_LOG_FORMAT {style!r}: use json or plain")
        namespaces = tuple(n.strip() for n in env.get("RIVERMILL_WATCH_NAMESPACES", "").split(",") if n.strip())
        for name in namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise SettingsError(f"RIVERMILL_WATCH_NAMESPACES {name!r}: use names of namespaces, with commas between them")
        own = _NAMESPACE_FILE.read_text(encoding="ascii") if _NAMESPACE_FILE.exists() else "default"
        return cls(
            namespaces=namespaces,
            lease_name=env.get("RIVERMILL_LEASE_NAME", "rivermill-operator"),
            namespace=env.get("POD_NAMESPACE") or own,
            instance=env.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            http_port=int(port),
            log_level=level,
            log_format=style,
        )
