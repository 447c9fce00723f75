DROP TABLE ${schema}.rivermill_rate;
