"""Insert on an idle queue → ``replicas`` written, on the dev cluster, as a client of the API server sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import asyncpg

from demo import setup
from demo.watch import Fleet
from devcluster import Cluster, DevclusterError
from rivermill_operator.simulate.outcome import percentile

ROOT = Path(__file__).resolve().parent.parent
TRIES = int(os.environ.get("WAKE_TRIES", "50"))
_IDLE_SECONDS = 60.0


async def _measure(cluster: Cluster, url: str) -> list[float]:
    connection = await asyncpg.connect(url)
    fleet = Fleet(cluster)
    times = []
    try:
        for _ in range(TRIES):
            await _until_idle(fleet)
            fleet.forget_replicas()
            job = await connection.fetchval(
                "WITH made AS (INSERT INTO river_job (kind, args) VALUES ('none', '{}') RETURNING id) "
                "SELECT id FROM made, pg_notify('public.river_insert', '{\"queue\": \"default\"}')"
            )
            committed = time.time()
            while fleet.replicas_written_at is None:
                if time.time() - committed > _IDLE_SECONDS:
                    raise DevclusterError("the operator does not react")
                await asyncio.sleep(0.001)
            times.append(max(0.0, fleet.replicas_written_at - committed))
            await connection.execute("DELETE FROM river_job WHERE id = $1 AND state <> 'running'", job)
    finally:
        fleet.close()
        await connection.close()
    return times


async def _until_idle(fleet: Fleet) -> None:
    deadline = time.monotonic() + _IDLE_SECONDS
    while fleet.replicas or fleet.ready:
        if time.monotonic() > deadline:
            raise DevclusterError("the fleet does not go back to zero")
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)


def _delete(cluster: Cluster) -> None:
    """While its database is there, so that its fleet can drain."""
    cluster.kubectl("delete", "jobqueue", "library", "--ignore-not-found", "--timeout=60s", check=False)


def main() -> int:
    """Run and write ``build/wake.json``."""
    cluster = Cluster()
    with contextlib.ExitStack() as clean_up:
        clean_up.callback(cluster.down)
        url = setup.start(cluster, clean_up)
        clean_up.callback(_delete, cluster)
        patch = '{"spec":{"scaling":{"scaleIn":{"windowSeconds":0}},"worker":{"maxAttempts":1}}}'
        cluster.kubectl("patch", "jobqueue", "library", "--type=merge", "-p", patch)
        times = asyncio.run(_measure(cluster, url))
    figures = {
        "tries": len(times),
        "p50_seconds": round(percentile(times, 0.5), 3),
        "p95_seconds": round(percentile(times, 0.95), 3),
        "max_seconds": round(max(times), 3),
    }
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "wake.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print("wake:", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
