"""For how long a login has been refused, whatever becomes of the connections in between."""

from __future__ import annotations

import contextlib

import pytest

from rivermill.db import SharedConnection
from rivermill.errors import DatabaseUnavailableError, LoginRefusedError
from rivermill.login import Login

REFUSED, AWAY, ACCEPTED = LoginRefusedError("no"), DatabaseUnavailableError("away"), None


def attempt(login: Login, error: Exception | None) -> None:
    with contextlib.suppress(DatabaseUnavailableError), login.attempt():
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("attempts", "refused"),
    [
        ([], False),
        ([ACCEPTED], False),
        ([ACCEPTED, REFUSED], True),
        ([REFUSED, REFUSED], True),
        ([REFUSED, ACCEPTED], False),
        ([REFUSED, AWAY], False),
        ([REFUSED, AWAY, REFUSED], True),
    ],
)
def test_only_refusals_since_the_last_other_attempt_count(attempts: list[Exception | None], refused: bool) -> None:
    login = Login()
    for error in attempts:
        attempt(login, error)
    login.check(60.0)  # they have just begun
    if refused:
        with pytest.raises(LoginRefusedError, match="no; it has been so for 0 s"):
            login.check(0.0)
    else:
        login.check(0.0)


async def test_a_connection_that_is_closed_after_each_use_is_refused_all_the_same() -> None:
    shared = SharedConnection("postgresql://nobody@127.0.0.1/nothing", "test")
    attempt(shared.login, REFUSED)
    await shared.close()
    with pytest.raises(LoginRefusedError):
        shared.login.check(0.0)
