"""Where things are kept: what is built once (cache), and what a running cluster needs (state)."""

from __future__ import annotations

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parent


def cache() -> Path:
    """Binaries, images and archives; safe to delete, costly to make again."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rivermill"
    path = Path(os.environ.get("RIVERMILL_CACHE") or default)
    path.mkdir(parents=True, exist_ok=True)
    return path


def states() -> Path:
    """The folder that holds the state of every cluster; on disk, since /run is often small and in memory."""
    return Path(os.environ.get("RIVERMILL_STATE") or "/var/lib/rivermill")


def state(name: str) -> Path:
    """Configuration, keys, logs, process ids and images of one cluster."""
    return states() / name
