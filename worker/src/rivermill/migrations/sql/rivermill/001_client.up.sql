CREATE TABLE ${schema}.rivermill_client (
    client_id text PRIMARY KEY,
    namespace text,
    pod_name text,
    pod_uid text,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues jsonb NOT NULL,
    slots integer NOT NULL,
    busy integer NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'accepting',
    wanted_state text NOT NULL DEFAULT 'accepting',
    started_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT client_id_length CHECK (char_length(client_id) > 0 AND char_length(client_id) < 128),
    CONSTRAINT state_known CHECK (state IN ('accepting', 'cordoned', 'drained')),
    CONSTRAINT wanted_state_known CHECK (wanted_state IN ('accepting', 'cordoned'))
);
