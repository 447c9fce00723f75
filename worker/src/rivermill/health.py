"""``/livez``, ``/readyz`` and ``/metrics`` from a thread of their own, so that a busy loop still answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from rivermill.config import Settings
from rivermill.errors import ConfigError

#: The main loop counts as dead when it has not run for this long.
LOOP_DEAD_AFTER = 60.0


class Health:
    """What the probes answer; written on the main loop, read on the server's threads."""

    def __init__(self) -> None:
        self._alive_at = time.monotonic()
        self._not_ready: str | None = "starting"
        self._dead: str | None = None

    def alive(self) -> None:
        """The main loop runs."""
        self._alive_at = time.monotonic()

    def ready(self, reason: str | None = None) -> None:
        """Ready, or not for a reason."""
        self._not_ready = reason

    def dead(self, reason: str) -> None:
        """A part has died for good: only a restart helps."""
        self._dead = reason

    def live_problem(self) -> str | None:
        """Why this process should be restarted, or None."""
        silent = time.monotonic() - self._alive_at
        if silent > LOOP_DEAD_AFTER:
            return f"the event loop has not run for {silent:.0f} s"
        return self._dead

    def ready_problem(self) -> str | None:
        """Why this process takes no jobs, or None."""
        return self._not_ready


class HealthServer:
    """Serves the probes and the metrics.

    Args:
        host: address to bind; empty is every address.
        port: port to bind; 0 picks a free one.
        health: what the probes answer.
        registry: what ``/metrics`` shows.
        refresh: called before metrics are collected.

    Raises:
        ConfigError: the address is not this computer's, or the port is taken.
    """

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry, refresh: Callable[[], None]) -> None:
        handler = _handler(health, registry, refresh)
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise ConfigError(
                f"cannot serve health and metrics on {host or '*'}:{port}: {error}; set RIVER_HTTP_PORT"
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="rivermill-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _handler(health: Health, registry: CollectorRegistry, refresh: Callable[[], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if self.path == "/metrics":
                refresh()
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/livez", "/readyz"):
                problem = health.live_problem() if self.path == "/livez" else health.ready_problem()
                self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode())
            else:
                self._answer(404, b"there are /livez, /readyz and /metrics\n")

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes every second are no news."""

    return Handler


def serve(settings: Settings, health: Health, registry: CollectorRegistry, refresh: Callable[[], None]) -> HealthServer | None:
    """Serve what the settings ask for; None where they have no port.

    Raises:
        ConfigError: the port cannot be served.
    """
    if settings.http_port is None:
        return None
    return HealthServer(settings.http_host or settings.pod.ip or "", settings.http_port, health, registry, refresh)
