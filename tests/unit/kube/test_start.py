"""What keeps the operator from starting is said in one line."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from rivermill_operator import main
from rivermill_operator.kube.cache import Cache
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest


def test_a_taken_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
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


async def test_what_could_not_be_listed_is_named(rest: Rest) -> None:
    listed, missing = (Cache(rest, path, lambda _: None) for path in ("/api/v1/pods", "/apis/apps/v1/deployments"))
    listed.synced.set()
    with pytest.raises(KubeError, match=r"^/apis/apps/v1/deployments could not be listed in 0.1 s: the log says why"):
        await main._sync([listed, missing], 0.1)
