"""For how long a login has been refused that was accepted before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rivermill.errors import DatabaseUnavailableError, LoginRefusedError


class Login:
    """Notes for how long the attempts to connect have all ended with a refused login."""

    def __init__(self) -> None:
        self._error: LoginRefusedError | None = None
        self._since = self._latest = 0.0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around an attempt."""
        try:
            yield
        except LoginRefusedError as error:
            self._latest = time.monotonic()
            if self._error is None:
                self._since = self._latest
            self._error = error
            raise
        except DatabaseUnavailableError:
            self._error = None
            raise
        self._error = None

    def check(self, longest: float) -> None:
        """Give up once every attempt has been refused for so many seconds; for a login that was accepted before.

        Raises:
            LoginRefusedError: they have.
        """
        seconds = self._latest - self._since
        if self._error is not None and seconds >= longest:
            raise LoginRefusedError(f"{self._error}; it has been so for {seconds:.0f} s, and the login worked before") from None
