"""Whose cluster tests may use, and how images get there."""

from __future__ import annotations

import pytest

from devcluster.current import loader
from devcluster.errors import DevclusterError


@pytest.mark.parametrize(
    ("context", "environment", "command"),
    [
        ("kind-test", {}, "kind load image-archive {archive} --name {cluster}"),
        ("k3d-test", {}, "k3d image import {archive} --cluster {cluster}"),
        ("minikube", {}, "minikube image load {archive}"),
        ("kind-test", {"RIVERMILL_LOAD_COMMAND": "push {archive}"}, "push {archive}"),
        ("lab", {"RIVERMILL_CONTEXTS": "other, lab", "RIVERMILL_LOAD_COMMAND": "push {image}"}, "push {image}"),
    ],
)
def test_allowed(context: str, environment: dict[str, str], command: str) -> None:
    assert loader(context, environment) == command


@pytest.mark.parametrize(
    ("context", "environment", "message"),
    [
        ("production", {}, "'production' is none of kind-"),
        ("my-kind-test", {}, "RIVERMILL_CONTEXTS"),
        ("minikube-production", {}, "is none of"),
        ("production", {"RIVERMILL_CONTEXTS": "lab"}, "is none of"),
        ("lab", {"RIVERMILL_CONTEXTS": "lab"}, "RIVERMILL_LOAD_COMMAND"),
    ],
)
def test_refused(context: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(DevclusterError, match=message):
        loader(context, environment)
