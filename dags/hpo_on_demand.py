"""Conf-triggered DAGs, one per backend: `hpo_local`."""

from __future__ import annotations

from pathlib import Path

import yaml

from hpo_airflow import settings
from hpo_airflow.dag_factory import conf_triggered

_EXPERIMENTS = Path(__file__).resolve().parents[1] / "config" / "experiments"
_EXAMPLE = yaml.safe_load((_EXPERIMENTS / "digits.yaml").read_text())

hpo_local = conf_triggered(
    "hpo_local", backend="local", example=_EXAMPLE, waves=settings.max_waves()
)
