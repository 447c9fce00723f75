"""Ends a client whose login is refused: its process has its password from when it was started, and a new one reads it anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rivermill.db import SharedConnection

_INTERVAL_SECONDS = 1.0


class LoginCheck:
    """Looks at the connections whose users try again for ever; the listener looks at its own.

    Args:
        connections: those, of a login that was accepted before.
        longest: the seconds for which logins may be refused.
    """

    def __init__(self, connections: Sequence[SharedConnection], longest: float) -> None:
        self._connections = connections
        self._longest = longest

    async def run(self) -> None:
        """Look until cancelled.

        Raises:
            LoginRefusedError: it has been refused to one of the connections for too long.
        """
        while True:
            for connection in self._connections:
                connection.login.check(self._longest)
            await asyncio.sleep(_INTERVAL_SECONDS)
