"""The requirements of ``rivermill.testing`` with a client for programs without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import psycopg
import pytest

from rivermill import SyncClient
from rivermill.pytest_plugin import river_schema
from rivermill.testing import Expected, require_inserted, require_many_inserted, require_not_inserted

__all__ = ["river_schema"]


@dataclass
class Mail:
    to: str
    kind: ClassVar[str] = "mail"


@dataclass
class Scan:
    kind: ClassVar[str] = "scan"


@pytest.fixture
def river_dsn(dsn: str) -> str:
    return dsn


@pytest.fixture
def client(river_dsn: str, river_schema: str) -> Iterator[SyncClient]:
    with SyncClient(river_dsn, schema=river_schema) as client:
        yield client


def test_what_is_there_is_found(client: SyncClient) -> None:
    client.insert_many([Mail("ann"), Scan(), Scan()])
    job = require_inserted(client, Expected(Mail("ann"), queue="default"))
    assert job.args == Mail("ann")
    assert [job.kind for job in require_many_inserted(client, [Mail, Scan, Scan])] == ["mail", "scan", "scan"]
    require_not_inserted(client, Mail("bob"))


def test_what_is_not_met_is_raised_without_an_await(client: SyncClient) -> None:
    with pytest.raises(AssertionError, match="expected one job of kind 'mail', there are 0; there is no job at all"):
        require_inserted(client, Mail)
    with pytest.raises(AssertionError, match=r"expected jobs of the kinds \['mail'\], there are \[\]"):
        require_many_inserted(client, [Mail])
    client.insert(Mail("ann"))
    with pytest.raises(AssertionError, match="expected no such job of kind 'mail', there is"):
        require_not_inserted(client, Mail)


def test_an_open_transaction_is_looked_into(client: SyncClient, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        client.insert(Mail("ann"), tx=connection)
        require_inserted(client, Mail, tx=connection)
        require_not_inserted(client, Mail)
        connection.rollback()
