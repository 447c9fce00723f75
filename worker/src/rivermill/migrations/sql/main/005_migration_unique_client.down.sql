DO $body$
BEGIN
    IF to_regclass('${schema}.river_migration') IS NOT NULL THEN
        IF EXISTS (SELECT 1 FROM ${schema}.river_migration WHERE line <> 'main') THEN
            RAISE EXCEPTION 'river_migration has rows of other lines than main: migrate those lines down first';
        END IF;
        ALTER TABLE ${schema}.river_migration RENAME TO river_migration_with_lines;
        CREATE TABLE ${schema}.river_migration (
            id bigserial PRIMARY KEY,
            created_at timestamptz NOT NULL DEFAULT now(),
            version bigint NOT NULL,
            CONSTRAINT version CHECK (version >= 1)
        );
        CREATE UNIQUE INDEX ON ${schema}.river_migration USING btree (version);
        INSERT INTO ${schema}.river_migration (created_at, version)
            SELECT created_at, version FROM ${schema}.river_migration_with_lines ORDER BY version;
        DROP TABLE ${schema}.river_migration_with_lines;
    END IF;
END;
$body$;

ALTER TABLE ${schema}.river_job DROP COLUMN unique_key;
DROP TABLE ${schema}.river_client_queue;
DROP TABLE ${schema}.river_client;
