"""The one exception of this package."""

from __future__ import annotations


class DevclusterError(Exception):
    """Something about this computer is not as it must be; the message says what to do."""
