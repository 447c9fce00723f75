"""Progress of long steps, as plain lines."""

from __future__ import annotations

import sys
import threading
import time

_lock = threading.Lock()
_started = time.monotonic()


def say(text: str) -> None:
    """Print one line with the time since the program began."""
    elapsed = int(time.monotonic() - _started)
    with _lock:
        sys.stderr.write(f"[{elapsed // 60:d}:{elapsed % 60:02d}] {text}\n")
        sys.stderr.flush()
