"""Conf-triggered DAGs, one per backend and team: `hpo_local`, `hpo_vision.local` and so on."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import get_parsing_context

from hpo_airflow.on_demand import dags_of_all

_examples = Path(__file__).resolve().parents[1] / "config" / "experiments"
globals().update(dags_of_all(_examples, get_parsing_context().dag_id))
