-- Jobs of a queue, or of a part of it, that have started in a period of its rate limit.
CREATE TABLE ${schema}.rivermill_rate (
    queue text NOT NULL,
    part bytea NOT NULL,
    period_start timestamptz NOT NULL,
    started integer NOT NULL,
    PRIMARY KEY (queue, part, period_start)
);
