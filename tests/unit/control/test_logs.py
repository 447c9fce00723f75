"""Which lines of the log are no trouble."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from rivermill_operator.control.apply import apply
from rivermill_operator.control.retries import Retries
from rivermill_operator.control.turns import Turns
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.logs import soften
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, Plan
from rivermill_operator.plan.plan import SetReplicas
from tests.unit.plan.build import job_queue

RETRIED = "Request attempt #1/5 failed; will retry: GET https://x -> APIError('storage is (re)initializing')"


@pytest.mark.parametrize(
    ("name", "message", "level"),
    [
        ("kopf._cogs.clients.watching", RETRIED, "WARNING"),
        ("kopf._cogs.clients.watching", RETRIED.replace("will retry", "escalating"), "ERROR"),
        ("rivermill.control", RETRIED, "ERROR"),
    ],
)
def test_what_kopf_tries_again_is_a_warning(name: str, message: str, level: str) -> None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, message, (), None)
    assert soften(record)
    assert (record.levelname, record.levelno) == (level, getattr(logging, level))


class Changed:
    """An API server that refuses replicas."""

    def __init__(self, status: int) -> None:
        self._status = status

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        raise KubeError(self._status, "the object has been modified")


@pytest.mark.parametrize(("status", "level"), [(409, "DEBUG"), (404, "DEBUG"), (403, "INFO"), (0, "INFO")])
async def test_an_object_that_has_changed_meanwhile_is_no_trouble(
    caplog: pytest.LogCaptureFixture, status: int, level: str
) -> None:
    caplog.set_level("DEBUG", "rivermill.control.apply")
    decided = Plan(Decision(1), (), Memory(), scales=(SetReplicas("q-1", 1, "7"),))
    await apply(decided, job_queue(), cast(Kube, Changed(status)), None, Turns(), Retries())
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, "write refused")]
