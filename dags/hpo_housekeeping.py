"""The DAG `hpo_housekeeping`: ends what nobody looks after any more."""

from __future__ import annotations

from hpo_airflow.dag_factory import housekeeping

hpo_housekeeping = housekeeping("hpo_housekeeping")
