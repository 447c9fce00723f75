"""Log lines: plain for people, JSON for collectors."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

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
        fields = "".join(f" {key}={value}" for key, value in extra.items())
        return f"{time} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"


def soften(record: logging.LogRecord) -> bool:
    """Let a record pass; what kopf tries again by itself, as while the CRD is new, is a warning and no error yet."""
    if record.levelno == logging.ERROR and record.name.startswith("kopf.") and "; will retry:" in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


def configure_logging(level: str, style: str) -> None:
    """Log to standard error; ``level`` is debug, info, warning or error, ``style`` plain or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=style == "json"))
    handler.addFilter(soften)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
