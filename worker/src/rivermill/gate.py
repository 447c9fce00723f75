"""Whether a client may claim. Pure, but for the clock."""

from __future__ import annotations

import time
from math import inf


class Gate:
    """Closed while the client is cordoned, held for a moment, or silent: others are about to take it for dead.

    Args:
        silence: seconds after a heartbeat during which it is not silent.

    Attributes:
        cordoned: nothing is claimed until that is taken back.
    """

    def __init__(self, silence: float = inf) -> None:
        self.cordoned = False
        self._held_until = -inf
        self._silence = silence
        self._beat_at = inf

    def hold(self, seconds: float) -> None:
        """Be closed for so long from now, if not longer already."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def on_heartbeat(self, *, counts: bool) -> bool:
        """A heartbeat was written; returns whether the client was silent.

        Args:
            counts: whether others go by it.
        """
        silent = self._silent
        self._beat_at = time.monotonic() if counts else inf
        return silent

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last heartbeat; 0 before the first, and where they do not count."""
        return max(0.0, time.monotonic() - self._beat_at)

    @property
    def _silent(self) -> bool:
        return self.silent_seconds > self._silence

    @property
    def closed(self) -> bool:
        """Whether nothing may be claimed now."""
        return self.cordoned or time.monotonic() < self._held_until or self._silent

    @property
    def opens_after(self) -> float | None:
        """Seconds until it opens by itself; None for a cordon and for silence, which do not end so."""
        return None if self.cordoned or self._silent else max(0.0, self._held_until - time.monotonic())
