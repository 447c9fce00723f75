DROP TABLE ${schema}.rivermill_sequence_job;
DROP TABLE ${schema}.rivermill_sequence;
