-- Whose turn it is in each sequence that has jobs.
CREATE TABLE ${schema}.rivermill_sequence (
    key bytea PRIMARY KEY,
    job_id bigint NOT NULL
);

-- Jobs that wait for their turn.
CREATE TABLE ${schema}.rivermill_sequence_job (
    key bytea NOT NULL,
    job_id bigint NOT NULL,
    PRIMARY KEY (key, job_id)
);
