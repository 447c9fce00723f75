"""Tells when replicas were written: a process of its own, so that thousands of pods in the harness do not delay the time.

``python -m benchmarks.operator.replicas KUBECONFIG SELECTOR`` prints a line of JSON for each change of a Deployment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.operator.api import Api

_DEPLOYMENTS = "/apis/apps/v1/deployments"


async def follow(kubeconfig: Path, selector: str, see: Callable[[str, int, float], None]) -> None:
    """Call ``see`` with the JobQueue, its replicas and the time (of ``time.time``) of each change, until cancelled."""
    command = [sys.executable, "-m", __name__, str(kubeconfig), selector]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            see(*json.loads(line))
        raise ChildProcessError(f"{__name__} ended with code {await process.wait()}")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _print(kind: str, deployment: Mapping[str, Any]) -> None:
    now, name = time.time(), deployment["metadata"]["labels"]["rivermill.dev/jobqueue"]
    replicas = 0 if kind == "DELETED" else deployment["spec"]["replicas"]
    print(json.dumps([name, replicas, now]), flush=True)


async def _main(kubeconfig: str, selector: str) -> None:
    async with Api(Path(kubeconfig)) as api:
        await api.follow(_DEPLOYMENTS, selector, _print)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
