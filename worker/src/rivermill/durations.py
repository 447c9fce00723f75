"""Durations as settings write them: ``500ms``, ``1s``, ``2m``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from rivermill.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(name: str, value: Any) -> timedelta:
    """Read ``500ms``, ``1s``, ``2m``, ``1h30m`` or a plain number of seconds.

    Raises:
        ConfigError: it is none of these, or not above zero.
    """
    text = str(value).strip()
    if _DURATION.fullmatch(text):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text))
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
    if not 0 < seconds < timedelta.max.total_seconds():
        raise ConfigError(f"{name} {value!r}: use a duration above zero such as 500ms, 1s, 2m or 1h30m")
    return timedelta(seconds=seconds)
