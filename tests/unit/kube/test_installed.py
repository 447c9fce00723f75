"""What people ask the API server for and is not there is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from rivermill_operator.kube import installed
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.main import main
from tests.unit.kube.conftest import Api, use_kubeconfig

SERVED = {"resources": [{"name": "jobqueues"}]}
GROUP = "/apis/rivermill.dev/v1alpha1"


def serving(api: Api, answers: dict[str, dict[str, object]]) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path in answers:
            return web.json_response(answers[request.path])
        return web.Response(status=404, text="404 page not found")

    api.handler = handler


async def test_an_object_is_read(api: Api, rest: Rest) -> None:
    serving(api, {f"{GROUP}/namespaces/shop/jobqueues/mail": {"spec": {}}})
    assert await installed.read(rest, "shop", "mail") == {"spec": {}}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({GROUP: SERVED}, "there is no JobQueue shop/mail: `kubectl get jobqueues -A` lists them"),
        ({GROUP: {"resources": []}}, "jobqueues.rivermill.dev is not installed: install the chart rivermill-crds first"),
        ({}, "jobqueues.rivermill.dev is not installed: install the chart rivermill-crds first"),
    ],
)
async def test_what_is_not_there_is_said(api: Api, rest: Rest, answers: dict[str, dict[str, object]], message: str) -> None:
    serving(api, answers)
    with pytest.raises(KubeError) as caught:
        await installed.read(rest, "shop", "mail")
    assert str(caught.value) == message


async def test_what_is_forbidden_is_said_as_it_is(api: Api, rest: Rest) -> None:
    api.answers(403, '{"message": "jobqueues is forbidden"}')
    with pytest.raises(KubeError, match="jobqueues is forbidden"):
        await installed.read(rest, "shop", "mail")


def test_an_api_server_that_is_away_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    use_kubeconfig(monkeypatch, tmp_path, f"http://127.0.0.1:{unused_tcp_port}")
    assert main(["explain", "shop/mail"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"rivermill-operator: the API server cannot be asked: Cannot connect to host 127.0.0.1:{unused_tcp_port}"
    )
    assert said.endswith("; see `kubectl cluster-info`, and set KUBECONFIG\n")
