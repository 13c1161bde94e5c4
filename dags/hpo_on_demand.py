"""Conf-triggered DAGs, one per backend and team: `hpo_local`, `hpo_vision.local` and so on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from hpo_airflow import settings
from hpo_airflow.on_demand import on_demand_dags

_examples = Path(__file__).resolve().parents[1] / "config" / "experiments"
for _team in ("", *settings.teams()):
    globals().update(on_demand_dags(_examples, _team, get_parsing_context().dag_id))
