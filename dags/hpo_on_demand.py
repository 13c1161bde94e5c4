"""Conf-triggered DAGs, one per backend and team: `hpo_local`, `hpo_vision.local` and so on."""

from hpo_airflow.dags import on_demand

globals().update(on_demand())
