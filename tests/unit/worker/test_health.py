"""What the probes answer."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from rivermill.health import Health, HealthServer


@pytest.fixture
def server() -> Iterator[HealthServer]:
    server = HealthServer("127.0.0.1", 0, Health(), CollectorRegistry(), lambda: None)
    yield server
    server.close()


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/other", 404)])
def test_head_is_get_without_a_body(server: HealthServer, path: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    answers = []
    for method in ("GET", "HEAD"):
        connection.request(method, path)
        answer = connection.getresponse()
        answers.append((answer.status, answer.getheader("Content-Length"), answer.read()))
        connection.close()
    (got, length, body), head = answers
    assert (got, head) == (status, (status, length, b""))
    assert len(body) == int(length or 0)
