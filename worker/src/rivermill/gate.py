"""Whether a client may claim. Pure, but for the clock."""

from __future__ import annotations

import time
from math import inf


class Gate:
    """Closed while the client is cordoned, or held for a moment.

    Attributes:
        cordoned: nothing is claimed until that is taken back.
    """

    def __init__(self) -> None:
        self.cordoned = False
        self._held_until = -inf

    def hold(self, seconds: float) -> None:
        """Be closed for so long from now, if not longer already."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    @property
    def closed(self) -> bool:
        """Whether nothing may be claimed now."""
        return self.cordoned or time.monotonic() < self._held_until

    @property
    def opens_after(self) -> float | None:
        """Seconds until it opens by itself; None for a cordon, which does not."""
        return None if self.cordoned else max(0.0, self._held_until - time.monotonic())
