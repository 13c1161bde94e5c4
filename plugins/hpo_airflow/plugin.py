"""The plugin, where the REST API and pages for Airflow's UI are named."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from hpo_airflow import preloading
from hpo_airflow.api import MOUNTED

#: Of the entry point that names it to Airflow where the package is installed.
GROUP, NAME = "airflow.plugins", "hpo"


class HpoPlugin(AirflowPlugin):
    """Names the plugin, with its REST API and what spares forks their imports; pages come later."""

    name = NAME
    fastapi_apps = [MOUNTED]  # noqa: RUF012 - as Airflow has it
    listeners = [preloading]  # noqa: RUF012
