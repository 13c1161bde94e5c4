-- One role and one database for Airflow, and for the experiments' store. Done again it changes
-- nothing but the passwords, which come from the environment.
\getenv airflow_password AIRFLOW_PASSWORD
\getenv hpo_password STORE_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', name)
FROM (VALUES ('airflow'), ('hpo')) AS wanted (name)
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec

ALTER ROLE airflow PASSWORD :'airflow_password';
ALTER ROLE hpo PASSWORD :'hpo_password';

SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', name, name)
FROM (VALUES ('airflow'), ('hpo')) AS wanted (name)
WHERE name NOT IN (SELECT datname FROM pg_database) \gexec

REVOKE CONNECT ON DATABASE airflow, hpo FROM PUBLIC;
