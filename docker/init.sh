#!/bin/sh
# Runs once before the rest: our schema and first API key, Airflow's schema, Airflow's password. Safe to repeat.
set -eu
cuvee migrate
airflow db migrate
# Airflow takes its one user's password from this file; written aside, so that it is never read half.
umask 077
python3 -c 'import json, os; print(json.dumps({"admin": os.environ["AIRFLOW_PASSWORD"]}))' > secrets/airflow-passwords.new
mv secrets/airflow-passwords.new secrets/airflow-passwords.json
