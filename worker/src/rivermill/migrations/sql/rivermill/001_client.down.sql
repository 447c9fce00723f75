DROP TABLE ${schema}.rivermill_client;
