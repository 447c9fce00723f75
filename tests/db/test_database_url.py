"""What a real server says of what follows the ``?`` of a URL is told as a mistake in it, by the worker and the operator."""

from __future__ import annotations

import pytest

from rivermill import ConfigError
from rivermill.db import connect as connect_worker
from rivermill_operator.store.connection import connect as connect_operator
from rivermill_operator.store.port import StoreError


def with_query(dsn: str, text: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}{text}"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("connect_timeout=10", 'the server says unrecognized configuration parameter "connect_timeout"; correct or remove it'),
        ("work_mem=much", 'the server says invalid value for parameter "work_mem": "much"; correct or remove it behind the ?'),
        ("server_version=9", 'the server says parameter "server_version" cannot be changed; correct or remove it behind the ?'),
    ],
)
async def test_a_setting_that_the_server_refuses_is_named(dsn: str, query: str, message: str) -> None:
    with pytest.raises(ConfigError) as by_worker:
        await connect_worker(with_query(dsn, query), application_name="test")
    with pytest.raises(StoreError) as by_operator:
        await connect_operator(with_query(dsn, query))
    assert message in str(by_worker.value)
    assert by_operator.value.reason == "InvalidDatabaseURL"
    assert by_operator.value.message == f"T{str(by_worker.value)[1:]}."
