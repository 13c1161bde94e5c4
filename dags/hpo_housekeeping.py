"""The DAG `hpo_housekeeping`: ends what nobody looks after any more."""

from __future__ import annotations

from pathlib import Path

from hpo_airflow import settings
from hpo_airflow.dag_factory import housekeeping

_folder = settings.experiments(Path(__file__).resolve().parents[1])
hpo_housekeeping = housekeeping("hpo_housekeeping", _folder)
