"""Every statement of the operator: bounded, indexed, safe on generic plans; ``schema`` is a name that was checked."""

from __future__ import annotations

#: What one queue's wait is: four one-row probes, a priority each, where ``min()`` would read all that waits.
_OLDEST = """
    SELECT extract(epoch FROM now() - min(first.scheduled_at))::float8 AS seconds
    FROM (VALUES (1::smallint), (2::smallint), (3::smallint), (4::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT scheduled_at FROM {job}
        WHERE state = 'available' AND queue = wanted.name AND priority = p.priority AND scheduled_at <= now()
        ORDER BY scheduled_at, id LIMIT 1) AS first
"""

#: River Pro's limit over all clients; one that is partitioned by args or kind limits no queue as a whole.
_LIMIT = """
    CASE WHEN jsonb_typeof(q.metadata #> '{concurrency,global_limit}') = 'number'
            AND coalesce(q.metadata #> '{concurrency,partition}', 'null') IN ('null', '{}')
            AND (q.metadata #> '{concurrency,global_limit}')::numeric BETWEEN 1 AND 2147483647
        THEN (q.metadata #> '{concurrency,global_limit}')::numeric::int END
"""

#: The rate limit over all clients as starts a second; one that is partitioned limits no queue as a whole, either.
_RATE = """
    CASE WHEN jsonb_typeof(q.metadata #> '{rate_limit,limit}') = 'number'
            AND jsonb_typeof(q.metadata #> '{rate_limit,period_seconds}') = 'number'
            AND coalesce(q.metadata #> '{rate_limit,partition}', 'null') IN ('null', '{}')
            AND (q.metadata #> '{rate_limit,limit}')::numeric BETWEEN 1 AND 1000000
            AND (q.metadata #> '{rate_limit,period_seconds}')::numeric BETWEEN 0.001 AND 31622400
        THEN ((q.metadata #> '{rate_limit,limit}')::numeric / (q.metadata #> '{rate_limit,period_seconds}')::numeric)::float8
        END
"""


def versions_sql(schema: str) -> str:
    """The version of each migration line."""
    return f'SELECT line, max(version)::int AS version FROM "{schema}".river_migration GROUP BY line'


def observe_sql(schema: str) -> str:
    """``$1`` queues, ``$2`` how many jobs to count and ``$3`` how many seconds to look ahead in each; a row each, in order."""
    job, queue = f'"{schema}".river_job', f'"{schema}".river_queue'
    return f"""
        SELECT name, depth.waiting::int, running.running::int, running.seconds AS running_seconds,
            oldest.seconds AS oldest_seconds, soon.due_soon::int, q.paused_at IS NOT NULL AS paused,
            {_LIMIT} AS concurrency_limit, {_RATE} AS rate_limit
        FROM unnest($1::text[], $2::int[], $3::float8[]) WITH ORDINALITY AS wanted (name, depth_bound, horizon, place)
        LEFT JOIN {queue} AS q USING (name)
        CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM (
            SELECT 1 FROM {job} WHERE state = 'available' AND queue = wanted.name AND scheduled_at <= now()
            ORDER BY priority, scheduled_at, id LIMIT wanted.depth_bound) AS bounded) AS depth
        CROSS JOIN LATERAL (
            SELECT count(*) AS running, coalesce(extract(epoch FROM sum(now() - attempted_at)), 0)::float8 AS seconds
            FROM {job} WHERE state = 'running' AND queue = wanted.name) AS running
        CROSS JOIN LATERAL ({_OLDEST.format(job=job)}) AS oldest
        CROSS JOIN LATERAL (SELECT count(*) AS due_soon FROM (
            SELECT 1 FROM {job} WHERE state IN ('scheduled', 'retryable') AND queue = wanted.name
                AND priority IN (1, 2, 3, 4) AND scheduled_at <= now() + make_interval(secs => wanted.horizon)
            LIMIT wanted.depth_bound) AS bounded) AS soon
        ORDER BY place
    """


def oldest_sql(schema: str) -> str:
    """``$1`` queues: only how long the oldest job of each waits, for when the whole observation takes too long."""
    return f"""
        SELECT name, oldest.seconds AS oldest_seconds
        FROM unnest($1::text[]) WITH ORDINALITY AS wanted (name, place)
        CROSS JOIN LATERAL ({_OLDEST.format(job=f'"{schema}".river_job')}) AS oldest
        ORDER BY place
    """


def last_id_sql(schema: str) -> str:
    """The newest job's id."""
    return f'SELECT coalesce(max(id), 0) AS id FROM "{schema}".river_job'


def arrivals_sql(schema: str) -> str:
    """``$1`` the last id seen, ``$2`` how many rows to look at; a job for later is no arrival yet, it is looked ahead to."""
    return f"""
        SELECT queue, count(*) FILTER (WHERE scheduled_at <= created_at + interval '5 seconds')::int AS jobs, max(id) AS last_id
        FROM (
            SELECT id, queue, scheduled_at, created_at FROM "{schema}".river_job WHERE id > $1 ORDER BY id LIMIT $2) AS new
        GROUP BY queue
    """


def finished_sql(schema: str) -> str:
    """``$1`` the last end seen or NULL, ``$2`` how many of the newest rows to look at.

    ``IS NOT NULL`` looks redundant; without it the planner does not see the partial index. River for Go writes ends by its own
    clock: what it says of the time to come counts then, or one fast clock would hide all other ends until that time.
    """
    return f"""
        SELECT queue, count(*)::int AS jobs, sum(seconds)::float8 AS seconds, sum(seconds * seconds)::float8 AS squares,
            max(seconds)::float8 AS longest, max(finalized_at) AS last_end
        FROM (
            SELECT queue, finalized_at, greatest(0, extract(epoch FROM finalized_at - attempted_at)) AS seconds
            FROM "{schema}".river_job
            WHERE state = 'completed' AND finalized_at IS NOT NULL
                AND finalized_at > coalesce($1::timestamptz, '-infinity') AND finalized_at <= now() AND attempted_at IS NOT NULL
            ORDER BY finalized_at DESC LIMIT $2) AS newest
        GROUP BY queue
    """


def clients_sql(schema: str) -> str:
    """``$1`` pod uids."""
    return f"""
        SELECT client_id, pod_uid, client.state, wanted_state, slots, coalesce(running.queues, '{{}}') AS queues,
            greatest(0, extract(epoch FROM now() - last_seen_at))::float8 AS silent_seconds,
            (SELECT coalesce(sum((value ->> 'ended')::bigint), 0)::bigint FROM jsonb_each(client.queues)) AS ended,
            (SELECT coalesce(sum((value ->> 'failed')::bigint), 0)::bigint FROM jsonb_each(client.queues)) AS failed
        FROM "{schema}".rivermill_client AS client
        LEFT JOIN (
            SELECT client_id, jsonb_object_agg(queue, jobs)::text AS queues FROM (
                SELECT attempted_by[array_upper(attempted_by, 1)] AS client_id, queue, count(*) AS jobs
                FROM "{schema}".river_job WHERE state = 'running' GROUP BY 1, 2) AS held
            GROUP BY 1) AS running USING (client_id)
        WHERE pod_uid = ANY($1::text[])
    """


def server_sql() -> str:
    """Age of the oldest snapshot that anything holds, connections that ordinary users may open, and those that are open."""
    return """
        SELECT
            greatest(
                (SELECT max(age(backend_xmin)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()),
                (SELECT max(age(transaction)) FROM pg_prepared_xacts),
                (SELECT max(age(xmin)) FROM pg_replication_slots), 0) AS xmin_age,
            current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - coalesce(current_setting('reserved_connections', true), '0')::int AS connections_limit,
            (SELECT count(*)::int FROM pg_stat_activity
                WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS connections_used
    """


def identity_sql() -> str:
    """One text that no other database has: that of the cluster's files, which its replicas share, and that of the database."""
    return """
        SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text
        FROM pg_database WHERE datname = current_database()
    """


def want_sql(schema: str) -> str:
    """``$1`` the state wanted, ``$2`` client ids, ``$3`` and ``$4`` channel and payload; rows are locked in order."""
    client = f'"{schema}".rivermill_client'
    return f"""
        WITH told AS (
            UPDATE {client} SET wanted_state = $1 WHERE client_id IN (
                SELECT client_id FROM {client} WHERE client_id = ANY($2::text[]) ORDER BY client_id FOR UPDATE)
            RETURNING 1)
        SELECT pg_notify($3, $4) FROM (SELECT count(*) FROM told) AS done
    """


def bury_sql(schema: str) -> str:
    """``$1`` client ids, ``$2`` the silence that they must have kept; rows are locked in order."""
    client = f'"{schema}".rivermill_client'
    return f"""
        UPDATE {client} SET last_seen_at = to_timestamp(0) WHERE client_id IN (
            SELECT client_id FROM {client} WHERE client_id = ANY($1::text[]) AND last_seen_at < now() - $2::interval
            ORDER BY client_id FOR UPDATE)
    """
