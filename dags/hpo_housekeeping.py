"""The DAG `hpo_housekeeping`: ends what nobody looks after any more."""

from hpo_airflow.dags import housekeeping

globals().update(housekeeping())
