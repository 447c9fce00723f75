"""What keeps the operator from starting is said in one line, and an operator that ends leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rivermill_operator import main
from rivermill_operator.kube.cache import Cache
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.metrics import Metrics
from rivermill_operator.settings import Settings
from tests.unit.kube.conftest import Api, use_kubeconfig


def test_a_taken_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use_kubeconfig(monkeypatch, tmp_path, "http://127.0.0.1:9")
    monkeypatch.setattr(main, "configure_logging", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("RIVERMILL_HTTP_PORT", str(port))
        assert main.main(["run"]) == 2
    assert (
        capsys.readouterr().err
        == f"rivermill-operator: RIVERMILL_HTTP_PORT {port}: Address already in use; use a port that is free\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "way_out"),
    [
        ("RIVERMILL_HTTP_PORT", "http", "use a port of 0 to 65535"),
        ("RIVERMILL_HTTP_PORT", "65536", "use a port of 0 to 65535"),
        ("RIVERMILL_LOG_LEVEL", "loud", "use debug, info, warning or error"),
        ("RIVERMILL_LOG_FORMAT", "xml", "use json or plain"),
        ("RIVERMILL_WATCH_NAMESPACES", "Shop", "use names of namespaces, with commas between them"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, way_out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert main.main(["run"]) == 2
    assert capsys.readouterr().err == f"rivermill-operator: {variable} {value!r}: {way_out}\n"


def test_settings_are_read() -> None:
    read = Settings.load({"RIVERMILL_WATCH_NAMESPACES": " shop, library-2,", "RIVERMILL_LOG_LEVEL": "DEBUG", "POD_NAME": "me"})
    assert (read.namespaces, read.log_level, read.instance) == (("shop", "library-2"), "debug", "me")


@pytest.mark.parametrize("text", [b"x: [", b"\xff\xfe", b"some words", b"apiVersion: v1"])
def test_a_kubeconfig_that_cannot_be_read_is_said(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_bytes(text)
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    assert main.main(["explain", "shop/mail"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("rivermill-operator: no service account, and no usable kubeconfig (KUBECONFIG, or ~/.kube/config): ")
    assert said.count("\n") == 1


def test_a_kubeconfig_that_is_not_there_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/a:/nowhere/b")
    assert main.main(["explain", "shop/mail"]) == 1
    said = capfd.readouterr().err
    assert said.endswith(": there is no file /nowhere/a:/nowhere/b; name another\n")
    assert said.count("\n") == 1


async def test_what_could_not_be_listed_is_named(rest: Rest) -> None:
    listed, missing = (Cache(rest, path, lambda _: None) for path in ("/api/v1/pods", "/apis/apps/v1/deployments"))
    listed.synced.set()
    with pytest.raises(KubeError, match=r"^/apis/apps/v1/deployments could not be listed in 0.1 s: the log says why"):
        await main._sync([listed, missing], 0.1)


async def _fail(*_: Any) -> None:
    raise KubeError(0, "it cannot operate")


async def test_an_operator_that_ends_with_an_error_releases_its_lease(
    api: Api, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the other replica waits until it has run out."""
    holders: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            if not holders:
                return web.json_response({"message": "not found"}, status=404)
            return web.json_response({"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": holders[-1]}})
        lease = json.loads(await request.text())
        holders.append(lease["spec"]["holderIdentity"])
        return web.json_response(lease)

    api.handler = handler
    monkeypatch.setattr(main, "_operate", _fail)
    async with asyncio.timeout(10):
        with pytest.raises(KubeError, match="it cannot operate"):
            await main._lead(Settings(instance="me"), rest, Metrics(), asyncio.Event())
    assert (holders[0], holders[-1]) == ("me", "")


async def test_an_operator_that_cannot_begin_stops_what_it_has_started(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_sync", _fail)
    with pytest.raises(KubeError, match="it cannot operate"):
        await main._operate(Settings(), rest, Metrics(), asyncio.Event())
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("cache of")]
