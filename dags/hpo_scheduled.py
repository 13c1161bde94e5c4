"""The DAGs `hpo_scheduled_<file>`: one per file of an experiment that has a `schedule`."""

from hpo_airflow.dags import scheduled

globals().update(scheduled())
