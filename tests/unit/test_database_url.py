"""What is wrong with a database URL is said in the same words by the worker and the operator, and never its password."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from rivermill import ConfigError, database_url
from rivermill.db import connect as connect_worker
from rivermill_operator.store import database_url as of_operator
from rivermill_operator.store.connection import connect as connect_operator
from rivermill_operator.store.port import StoreError


def test_both_halves_have_the_same_code() -> None:
    assert inspect.getsource(database_url) == inspect.getsource(of_operator)


async def by_worker(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        await connect_worker(url, application_name="test")
    return str(caught.value)


async def by_operator(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        await connect_operator(url)
    assert caught.value.reason == "InvalidDatabaseURL"
    said = caught.value.message.removesuffix(".")
    assert said != caught.value.message
    return said[0].lower() + said[1:]


WRONG = [
    *(
        (url, database_url.UNREADABLE)
        for url in (
            "",
            "steady",
            "host=db user=u password=secret",
            "u:secret@h/d",
            "postgresql://u:1/secret@h/d",
            "postgresql://u:secret#1@h/d",
            "postgresql://u:1?secret@h/d",
            "postgresql://u:1@secret@h/d",
            "postgresql://u:[secret@h/d",
            "postgresql:u:secret@h/d",
            "postgresql://u:secret",
            "postgresql://u:secret@h:x/d",
            "postgresql://u:secret@h one/d",
        )
    ),
    ("postgresql://u:secret@h:1/d?password", "the database URL of h:1/d: what follows the ? cannot be read: write name=value"),
    ("postgresql://u@h/d?password=a&secret", "the database URL of h/d: what follows the ? cannot be read: write name=value"),
    ("postgresql:///d?sslmode=off", "the database URL: sslmode 'off': use prefer, disable, allow, require, verify-ca or"),
    ("postgresql://u:secret@a:1,[::1]:2/d?sslmode=on", "the database URL of a:1,[::1]:2/d: sslmode 'on': use prefer, "),
    ("postgresql://h/d?target_session_attrs=rw", "the database URL of h/d: target_session_attrs 'rw': use any, primary, "),
    ("postgresql:///d?host=a,b&port=1,2,3", "the database URL: could not match 3 port numbers to 2 hosts; correct the URL"),
    ("mysql://u:secret@h/d", "the database URL begins with mysql://: use postgresql://"),
    (
        "postgresql+psycopg://u:secret@h/d",
        "the database URL begins with postgresql+psycopg://: use postgresql://, without the driver +",
    ),
    ("secret:u://h/d", database_url.UNREADABLE),
    ("postgresql://u:secret@h:54x/d", f"{database_url.UNREADABLE}; a port must be a number"),
    ("postgresql://u:1@h:secret?2@h/d", f"{database_url.UNREADABLE}; a port must be a number"),
    ("postgresql://u:secret@/d?port=x", database_url.UNREADABLE),
]


@pytest.mark.parametrize("said", [by_worker, by_operator])
@pytest.mark.parametrize(("url", "message"), WRONG)
async def test_what_is_wrong_is_named(said: Callable[[str], Awaitable[str]], url: str, message: str) -> None:
    found = await said(url)
    assert found.startswith(message)
    assert "secret" not in found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@db.example:5432/d?sslmode=verify-full&application_name=mine",
        "postgres://u:sec%2Fret%40@[fe80::1%25eth0]:5432/d",
        "postgresql://%2Frun%2Fpostgresql/d",
        "postgresql://a:1,b:2/d?target_session_attrs=read-write",
        "postgresql:///d?host=/run&user=me@there",
        "postgresql://",
    ],
)
def test_what_is_right_passes(url: str) -> None:
    database_url.check(url)


@pytest.mark.parametrize("error", [OSError("No username set in the environment"), KeyError("getpwuid(): uid not found: 65532")])
@pytest.mark.parametrize(
    ("url", "variables", "wrong"),
    [
        (
            "postgresql://h:5432/d",
            {},
            "the database URL of h:5432/d: there is no user in it: write postgresql://user:password@",
        ),
        ("postgresql:///d?host=h", {}, "the database URL: there is no user in it"),
        ("postgresql://u@h/d", {}, None),
        ("postgresql:///d?host=h&user=u", {}, None),
        ("postgresql://h/d", {"PGUSER": "u"}, None),
    ],
)
def test_a_process_without_a_name_needs_a_user(
    monkeypatch: pytest.MonkeyPatch, error: Exception, url: str, variables: dict[str, str], wrong: str | None
) -> None:
    """In an image whose user has no name the driver said that there is no username in the environment."""

    def getuser() -> str:
        raise error

    monkeypatch.setattr(database_url.getpass, "getuser", getuser)
    for name in ("PGUSER", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if wrong is None:
        database_url.check(url)
        return
    with pytest.raises(database_url.UrlError) as caught:
        database_url.check(url)
    assert str(caught.value).startswith(wrong)


URL = "postgresql://u:secret@h/d?sslmode=verify-full&sslrootcert=/nowhere/ca.crt&sslcert=" + __file__


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (asyncpg.UndefinedObjectError('unrecognized configuration parameter "foo"'), 'parameter "foo"; correct or remove it'),
        (asyncpg.InvalidParameterValueError("invalid value"), "the server says invalid value; correct or remove it"),
        (FileNotFoundError(2, "No such file"), "sslrootcert '/nowhere/ca.crt': there is no such file here; mount it, or"),
        (ValueError("invalid literal: 'secret'"), database_url.UNREADABLE),
    ],
)
def test_an_error_of_the_url_is_told_as_one(error: Exception, message: str) -> None:
    said = database_url.blamed(error, URL)
    assert said is not None
    assert message in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("error", "url"),
    [
        (asyncpg.InvalidPasswordError("no"), URL),
        (ConnectionRefusedError(111, "refused"), URL),
        (TimeoutError(), URL),
        (asyncpg.InterfaceError("lost"), URL),
        (FileNotFoundError(2, "No such file"), "postgresql:///d?host=/run/nowhere"),
    ],
)
def test_what_is_not_about_the_url_is_left_to_others(error: Exception, url: str) -> None:
    assert database_url.blamed(error, url) is None
