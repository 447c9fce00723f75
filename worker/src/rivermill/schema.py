"""The Postgres schema that holds River's tables: quoting and channel names.

Mirrors River's client rule for ``Config.Schema`` (46 characters at most, so that the longest channel fits into 63).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rivermill.errors import ConfigError

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MAX_LENGTH = 46


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema name that is safe to put into SQL.

    Args:
        name: the schema's name, case kept.

    Raises:
        ConfigError: the name is not one River accepts.
    """

    name: str = "public"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > _MAX_LENGTH:
            raise ConfigError(
                f"schema {self.name!r}: use letters, digits and underscores, not starting with a digit, "
                f"at most {_MAX_LENGTH} characters"
            )

    def table(self, name: str) -> str:
        """The quoted, qualified name of a table, type or function, e.g. ``"public"."river_job"``."""
        return f'"{self.name}"."{name}"'

    def channel(self, topic: str) -> str:
        """The NOTIFY channel of a topic, e.g. ``public.river_insert`` (quote it as one identifier in LISTEN)."""
        return f"{self.name}.{topic}"
