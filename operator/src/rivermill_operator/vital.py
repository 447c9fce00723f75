"""Tasks without which the operator must not live on."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("rivermill.vital")


def vital(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task that ends only when it is cancelled; when it ends otherwise, so does the process, at once.

    Nothing is tidied up then: an operator that has lost its lease must not write any more, and one whose view of the
    cluster stands still must not decide. Kubernetes starts it again.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_end)
    return task


def _end(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    logger.critical("the process ends, for a part of it has", extra={"part": task.get_name()}, exc_info=task.exception())
    os._exit(1)
