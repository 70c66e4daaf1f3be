-- Runs once, when the volume is new; the first database, cuvee, is made by the image from POSTGRES_DB.
create database airflow;
create database mlflow;
