"""Log lines of the command line programs: plain for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from rivermill.errors import ConfigError

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Render a record with its extra fields."""
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if record.exc_info:
            extra["exception"] = self.formatException(record.exc_info)
        if self._as_json:
            line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
            return json.dumps(line | extra, default=str)
        told = record.args if isinstance(record.args, Mapping) else ()  # what the message says by name
        fields = "".join(f" {key}={value}" for key, value in extra.items() if key not in told)
        return f"{time} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"


def configure_logging(level: str, style: str) -> None:
    """Log to standard error.

    Args:
        level: debug, info, warning or error.
        style: plain or json.

    Raises:
        ConfigError: an unknown level or style.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigError(f"RIVER_LOG_LEVEL {level!r}: use debug, info, warning or error")
    if style not in ("plain", "json"):
        raise ConfigError(f"RIVER_LOG_FORMAT {style!r}: use plain or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=style == "json"))
    logging.basicConfig(level=number, handlers=[handler], force=True)
