"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal


def stamp(moment: datetime, precision: Literal["seconds", "microseconds"] = "seconds") -> str:
    """A time in UTC as RFC 3339 text, e.g. ``2026-01-31T12:00:00Z``."""
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
