"""Whatever the API server, or something before it, answers: callers get a value or a KubeError."""

from __future__ import annotations

import pytest
from aiohttp import web
from kubernetes.aio import config

from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from tests.unit.kube.conftest import Api


@pytest.mark.parametrize(
    ("status", "body", "value"),
    [(200, '{"kind": "Lease"}', {"kind": "Lease"}), (200, "", {}), (201, "{}", {})],
)
async def test_an_answer_is_decoded(api: Api, rest: Rest, status: int, body: str, value: dict[str, str]) -> None:
    api.answers(status, body)
    assert await rest.request("GET", "/a") == value


@pytest.mark.parametrize(
    ("status", "body", "known", "message"),
    [
        (403, '{"message": "pods is forbidden"}', 403, "403 GET /a: pods is forbidden"),
        (429, "Too many requests, please try again later.\n", 429, "429 GET /a: Too Many Requests"),
        (502, "<html>Bad Gateway</html>", 502, "502 GET /a: Bad Gateway"),
        (500, "", 500, "500 GET /a: Internal Server Error"),
        (500, '["message"]', 500, "500 GET /a: Internal Server Error"),
        (200, "<html>Sign in</html>", 0, "GET /a: the answer is not a JSON object: <html>Sign in</html>"),
        (200, "[1]", 0, "GET /a: the answer is not a JSON object: [1]"),
        (200, '"' + "x" * 500, 0, 'GET /a: the answer is not a JSON object: "' + "x" * 79),
    ],
)
async def test_what_is_no_value_is_a_kube_error(api: Api, rest: Rest, status: int, body: str, known: int, message: str) -> None:
    api.answers(status, body)
    with pytest.raises(KubeError) as caught:
        await rest.request("GET", "/a")
    assert (caught.value.status, str(caught.value)) == (known, message)


async def test_a_cut_answer_is_a_kube_error(api: Api, rest: Rest) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"kind": ')
        assert request.transport is not None
        request.transport.close()
        return response

    api.handler = handler
    with pytest.raises(KubeError, match="GET /a: ClientPayloadError"):
        await rest.request("GET", "/a")


async def test_no_server_is_a_kube_error(rest: Rest, unused_tcp_port: int) -> None:
    rest._api.configuration.host = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(KubeError) as caught:
        await rest.request("GET", "/a")
    assert caught.value.status == 0


async def test_a_token_that_cannot_be_read_is_a_kube_error(rest: Rest) -> None:
    def empty(_: object) -> None:
        raise config.ConfigException("Token file exists but empty.")

    rest._api.configuration.api_key = {"authorization": "before"}
    rest._api.configuration.refresh_api_key_hook = empty
    with pytest.raises(KubeError, match="Token file exists but empty"):
        await rest.request("GET", "/a")


async def test_a_watch_yields_events(api: Api, rest: Rest) -> None:
    api.answers(200, '{"type": "ADDED", "object": {}}\n{"type": "BOOKMARK", "object": {}}\n')
    assert [event["type"] async for event in rest.watch("/a", {})] == ["ADDED", "BOOKMARK"]


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (410, '{"message": "too old"}', 410),
        (429, "Too many requests", 429),
        (200, "<html>\n", 0),
        (200, "[]\n", 0),
        (200, '{"type": "ADDED"}\n', 0),
        (200, '{"object": {}}\n', 0),
    ],
)
async def test_what_is_no_event_is_a_kube_error(api: Api, rest: Rest, status: int, body: str, known: int) -> None:
    api.answers(status, body)
    with pytest.raises(KubeError) as caught:
        async for _ in rest.watch("/a", {}):
            pass
    assert caught.value.status == known
