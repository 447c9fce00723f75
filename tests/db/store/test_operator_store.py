"""The operator's side of the database: who works a queue, what clients report, and clients declared dead."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from rivermill.client_queues import ClientQueues
from rivermill.config import load_settings
from rivermill.db import Connection
from rivermill.heartbeat import ClientState, Heartbeat, Vitals
from rivermill.schema import Schema
from rivermill_operator.model.observed import Finished, QueueProbe
from rivermill_operator.store.port import StoreError, Usage
from rivermill_operator.store.registry import Stores
from tests.db.run.support import eventually

OLD, YOUNG = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("mine", "theirs", "found"),
    [
        (("b", Usage(YOUNG, "public", frozenset({"x", "y"}))), ("a", Usage(OLD, "public", frozenset({"y", "z"}))), "y"),
        (("a", Usage(YOUNG, "public", frozenset({"x"}))), ("b", Usage(OLD, "public", frozenset({"x"}))), "x"),
        (("b", Usage(OLD, "public", frozenset({"x"}))), ("a", Usage(YOUNG, "public", frozenset({"x"}))), None),
        (("b", Usage(OLD, "public", frozenset({"x"}))), ("a", Usage(OLD, "public", frozenset({"x"}))), "x"),
        (("b", Usage(YOUNG, "public", frozenset({"x"}))), ("a", Usage(OLD, "other", frozenset({"x"}))), None),
        (("b", Usage(YOUNG, "public", frozenset({"x"}))), ("a", Usage(OLD, "public", frozenset({"y"}))), None),
    ],
)
async def test_the_younger_of_two_gives_way(
    dsn: str, mine: tuple[str, Usage], theirs: tuple[str, Usage], found: str | None
) -> None:
    stores = Stores(lambda _: None)
    try:
        stores.use(("n", theirs[0]), dsn, theirs[1])
        stores.use(("n", mine[0]), dsn, mine[1])
        assert stores.older_user(("n", mine[0]), dsn) == (None if found is None else (("n", theirs[0]), found))
    finally:
        await stores.close()


async def test_clients_report_their_attempts(dsn: str, connection: Connection, schema: Schema) -> None:
    settings = load_settings(dsn=dsn, queues={"a": 1, "b": 2}, schema=schema.name, client_id="c1")
    heartbeat = Heartbeat(settings, ClientQueues(settings.queues, settings.slots, works=True), "0")
    await heartbeat.beat(connection, Vitals(0, ClientState.ACCEPTING))
    await heartbeat.beat(connection, Vitals(0, ClientState.ACCEPTING, {"a": (5, 2), "b": (7, 1)}))
    await connection.execute(f"UPDATE {schema.table('rivermill_client')} SET pod_uid = 'u1'")
    stores = Stores(lambda _: None)
    try:
        store = stores.use(("n", "q"), dsn, Usage(OLD, schema.name, frozenset({"a"})))
        (client,) = (await store.observe([QueueProbe("a")], ["u1", "u2"])).clients
        assert (client.client_id, client.ended, client.failed) == ("c1", 12, 3)
    finally:
        await stores.close()


async def test_durations_are_added_up_and_the_longest_is_kept(dsn: str, connection: Connection, schema: Schema) -> None:
    stores = Stores(lambda _: None)
    try:
        store = stores.use(("n", "q"), dsn, Usage(OLD, schema.name, frozenset({"a"})))
        for durations, sums in (([], Finished()), ([2, 5], Finished(2, 7.0, 29.0, 5.0)), ([1], Finished(3, 8.0, 30.0, 5.0))):
            await connection.execute(
                f"INSERT INTO {schema.table('river_job')} (kind, args, queue, state, attempt, attempted_at, finalized_at) "
                "SELECT 'note', '{}', 'a', 'completed', 1, now() - make_interval(secs => seconds), now() "
                "FROM unnest($1::int[]) AS seconds",
                durations,
            )
            assert (await store.observe([QueueProbe("a")], [])).queues[0].finished == sums
    finally:
        await stores.close()


async def test_only_silent_clients_are_declared_dead(dsn: str, connection: Connection, schema: Schema) -> None:
    table = schema.table("rivermill_client")
    for client_id, seconds in (("silent", 13), ("heard", 5)):
        await connection.execute(
            f"INSERT INTO {table} (client_id, host, pid, version, queues, slots, last_seen_at) "
            "VALUES ($1, 'h', 1, '0', '{}', 1, now() - make_interval(secs => $2))",
            client_id,
            seconds,
        )
    stores = Stores(lambda _: None)
    try:
        store = stores.use(("n", "q"), dsn, Usage(OLD, schema.name, frozenset({"a"})))
        await store.bury(["silent", "heard"])
        dead = await connection.fetch(f"SELECT client_id FROM {table} WHERE last_seen_at < now() - interval '1 day'")
        assert [row["client_id"] for row in dead] == ["silent"]
    finally:
        await stores.close()


async def test_a_fleet_of_any_size_is_told_at_once(dsn: str, connection: Connection, schema: Schema) -> None:
    """One notification has 8,000 bytes."""
    table, ids = schema.table("rivermill_client"), [f"{n:0100d}" for n in range(300)]
    await connection.execute(
        f"INSERT INTO {table} (client_id, host, pid, version, queues, slots) "
        "SELECT id, 'h', 1, '0', '{}', 1 FROM unnest($1::text[]) AS id",
        [*ids, "other"],
    )
    heard: list[str] = []
    channel = schema.channel("rivermill_control")
    await connection.add_listener(channel, lambda *told: heard.extend(json.loads(told[3])["client_ids"]))
    stores = Stores(lambda _: None)

    async def all_heard() -> bool:
        return len(heard) >= len(ids)

    try:
        store = stores.use(("n", "q"), dsn, Usage(OLD, schema.name, frozenset({"a"})))
        await store.want("cordoned", ids)
        told = await connection.fetch(f"SELECT client_id FROM {table} WHERE wanted_state = 'cordoned' ORDER BY client_id")
        assert [row["client_id"] for row in told] == ids
        await eventually(all_heard)
        assert sorted(heard) == ids
    finally:
        await stores.close()


async def test_one_database_is_known_by_whatever_url_it_is_reached(dsn: str, connection: Connection, schema: Schema) -> None:
    await connection.execute("DROP ROLE IF EXISTS plain")
    await connection.execute("CREATE ROLE plain LOGIN PASSWORD 'secret'")
    await connection.execute(f'GRANT USAGE ON SCHEMA "{schema.name}" TO plain')
    await connection.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema.name}" TO plain')
    parts = urlsplit(dsn)
    other = parts._replace(netloc=f"plain:secret@{parts.netloc.rpartition('@')[2]}").geturl()
    await connection.execute(f"CREATE DATABASE {schema.name}_other")
    elsewhere = parts._replace(path=f"/{schema.name}_other").geturl()
    usages = {"old": (dsn, OLD), "young": (other, YOUNG), "elsewhere": (elsewhere, YOUNG)}
    stores = Stores(lambda _: None)
    try:
        for name, (url, created) in usages.items():
            store = stores.use(("n", name), url, Usage(created, schema.name, frozenset({"a"})))
            if name != "elsewhere":
                await store.observe([QueueProbe("a")], [])
            else:
                with pytest.raises(StoreError) as caught:
                    await store.observe([QueueProbe("a")], [])
                assert caught.value.reason == "SchemaMissing"
                assert "rivermill migrate up" in caught.value.message
        assert stores.older_user(("n", "young"), other) == (("n", "old"), "a")
        assert stores.older_user(("n", "old"), dsn) is None
        assert stores.older_user(("n", "elsewhere"), elsewhere) is None
    finally:
        await stores.close()
        await connection.execute(f"DROP DATABASE {schema.name}_other WITH (FORCE)")
        await connection.execute("DROP OWNED BY plain")
        await connection.execute("DROP ROLE plain")
