"""TestBatch: many jobs in one insert are all there in their order, or none is."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer, PeerError
from tests.interop.scenarios.database import raw_rows
from tests.interop.scenarios.support import BOTH_WAYS, EACH, insert, job, reaches, scenario

_KEYED: dict[str, Any] = {"unique": {"by_args": True}}


@scenario("TestBatch/Atomicity", BOTH_WAYS)
async def test_atomicity(peers: list[Peer]) -> None:
    inserting, other = peers
    spoilt = (
        [job("", "good"), job("", "bad", priority=99)],
        [job("", "good"), job("", "twice", **_KEYED), job("", "twice", **_KEYED)],
        [job("", "good"), job("", "bad", tags=["a tag"])],
    )
    for jobs in spoilt:
        with pytest.raises(PeerError) as refused:
            await insert(inserting, *jobs)
        assert refused.value.code == -32002
        assert (await other.call("list"))["jobs"] == []
    rows = await insert(inserting, job("", "good"), job("", "better"))
    assert (await other.call("list"))["jobs"] == rows


@scenario("TestBatch/LargeBatchOrder", EACH)
async def test_large_batch_order(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    count = 6_000
    rows = await insert(peer, *(job("", f"job {n}", priority=n % 4 + 1) for n in range(count)))
    assert [row["args"]["message"] for row in rows] == [f"job {n}" for n in range(count)]
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids)
    stored = await raw_rows(connection, river)
    assert [(row["id"], row["args"]["message"]) for row in stored] == [(row["id"], row["args"]["message"]) for row in rows]


@scenario("TestBatch/Results", BOTH_WAYS)
async def test_results(peers: list[Peer]) -> None:
    first, second = peers
    before = await insert(first, job("", "b", **_KEYED), job("", "d", tags=["the_first"], **_KEYED))
    keyed = [job("", name, tags=["the_second"], **_KEYED) for name in "abcd"]
    results = (await second.call("insert", jobs=[*keyed, job("", "e"), job("", "e")]))["results"]
    assert [result["job"]["args"]["message"] for result in results] == list("abcdee")
    assert [result["unique_skipped_as_duplicate"] for result in results] == [False, True, False, True, False, False]
    assert [results[1]["job"], results[3]["job"]] == before
    await first.call("start")
    for result in results:
        await reaches(second, result["job"]["id"], "completed")
