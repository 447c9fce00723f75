"""TestMigrate: either migrator makes what the other's clients need."""

from __future__ import annotations

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer, PeerError
from tests.interop.scenarios.support import BOTH_WAYS, insert, job, reaches, scenario

_ALL = list(range(1, 9))


@scenario("TestMigrate/CustomSchema", BOTH_WAYS)
async def test_custom_schema(peers: list[Peer], connection: Connection) -> None:
    migrating, using = peers
    name = "Mixed_" + "x" * 40
    await connection.execute(f'CREATE SCHEMA "{name}"')
    try:
        assert (await migrating.call("migrate", schema=name))["versions"] == _ALL
        assert (await using.call("migrate", schema=name))["versions"] == []
        (row,) = await insert(using, job("output", "custom"), schema=name)
        assert (await migrating.call("list", schema=name))["jobs"] == [row]
        assert (await migrating.call("list"))["jobs"] == []
        await migrating.call("start", schema=name)
        await reaches(using, row["id"], "completed", schema=name)
        await migrating.call("stop")
    finally:
        await connection.execute(f'DROP SCHEMA "{name}" CASCADE')
    for peer in peers:
        with pytest.raises(PeerError) as refused:
            await insert(peer, job(), schema="s" * 47)
        assert refused.value.code == -32002


@scenario("TestMigrate/History", BOTH_WAYS)
async def test_history(peers: list[Peer], connection: Connection, river: Schema) -> None:
    one, other = peers
    schema = f"{river.name}_history"
    await connection.execute(f'CREATE SCHEMA "{schema}"')
    try:
        turns = [one, other] * len(_ALL)
        for target, peer in zip(_ALL, turns, strict=False):
            assert (await peer.call("migrate", schema=schema, target_version=target))["versions"] == [target]
            assert (await peer.call("migrate", schema=schema, target_version=target))["versions"] == []
        for target, peer in zip(reversed(_ALL[:-1]), turns, strict=False):
            down = await peer.call("migrate", schema=schema, direction="down", target_version=target)
            assert down["versions"] == [target + 1]
        assert (await one.call("migrate", schema=schema))["versions"] == _ALL[1:]
        assert (await other.call("migrate", schema=schema, direction="down"))["versions"] == [8]
        down = await other.call("migrate", schema=schema, direction="down", target_version=-1)
        assert down["versions"] == [7, 6, 5, 4, 3, 2, 1]
        assert (await one.call("migrate", schema=schema))["versions"] == _ALL
    finally:
        await connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


@scenario("TestMigrate/MigratorThenRuntime", BOTH_WAYS)
async def test_migrator_then_runtime(peers: list[Peer]) -> None:
    migrating, working = peers
    assert (await migrating.call("migrate", direction="down", target_version=-1))["versions"] == _ALL[::-1]
    assert (await migrating.call("migrate"))["versions"] == _ALL
    rows = await insert(working, job(), job("output", "fresh", unique={"by_args": True}))
    await working.call("start")
    for row in rows:
        await reaches(migrating, row["id"], "completed")
