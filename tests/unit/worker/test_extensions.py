"""What runs around inserts, and in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from rivermill import ClaimMetric, Client, ConfigError, Hook, InsertParams, Middleware, Plugin, ValidationError
from rivermill.extensions import Extensions, insert_with

order: list[str] = []


class Layer(Plugin):
    def __init__(self, name: str) -> None:
        self.name = name

    async def insert_begin(self, params: Any) -> None:
        order.append(f"{self.name} begin")

    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        order.append(f"{self.name} in {len(params)}")
        return await inner()


@dataclass
class Plain:
    kind: ClassVar[str] = "plain"


@dataclass
class Own:
    kind: ClassVar[str] = "own"
    plugins: ClassVar[tuple[Plugin, ...]] = (Layer("own"),)


class Late(Hook):
    async def metric_emit(self, metric: ClaimMetric) -> None:  # type: ignore[override]
        order.append("never")


class Refuse(Hook):
    async def insert_begin(self, params: Any) -> None:
        raise ValidationError("no")


async def insert() -> str:
    order.append("insert")
    return "result"


async def test_the_clients_come_before_the_args_types_and_each_type_once_a_batch() -> None:
    order.clear()
    client = Extensions.of(hooks=[Layer("hook")], middleware=[Layer("middleware")], plugins=[Layer("plugin")])
    jobs = [InsertParams(Own()), InsertParams(Own()), InsertParams(Plain())]
    assert await insert_with(client, jobs, insert) == "result"
    begins = ["plugin begin", "hook begin", "own begin"]
    assert order == ["plugin in 3", "middleware in 3", "own in 3", *begins, *begins, *begins[:2], "insert"]


async def test_a_hook_stops_an_insert() -> None:
    order.clear()
    with pytest.raises(ValidationError, match="no"):
        await insert_with(Extensions.of(hooks=[Refuse()]), [InsertParams(Plain())], insert)
    assert order == []


def test_only_what_is_overridden_is_called() -> None:
    found = Extensions.of(hooks=[Refuse()], middleware=[Middleware()])
    assert (len(found.insert_begin), found.work_begin, found.insert_many, found.on_work) == (1, (), (), False)
    with pytest.raises(ConfigError, match="hooks: "):
        Extensions.of(hooks=[Middleware()])  # type: ignore[list-item]


def test_an_async_hook_that_nobody_awaits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^hooks: metric_emit of <.*Late.*> is async, .* plain def$"):
        Client("postgresql://h/d", hooks=[Late()])
