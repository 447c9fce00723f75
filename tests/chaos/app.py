"""An application whose jobs write when they ran, so that two runs at the same time can be seen."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import ClassVar

import asyncpg

from rivermill import Job, Workers


@dataclass
class Interval:
    kind: ClassVar[str] = "interval"
    seconds: float


async def workers() -> Workers:
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=0, max_size=4)
    app = Workers()

    @app.work
    async def run(job: Job[Interval]) -> None:
        sql = "INSERT INTO interval (job_id, started_at) VALUES ($1, clock_timestamp()) RETURNING id"
        number = await pool.fetchval(sql, job.id)
        await asyncio.sleep(job.args.seconds)
        await pool.execute("UPDATE interval SET ended_at = clock_timestamp() WHERE id = $1", number)

    return app
