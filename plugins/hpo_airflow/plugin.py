"""The plugin, where the REST API and pages for Airflow's UI are named."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from hpo_airflow import api, pages, preloading

#: Of the entry point that names it to Airflow where the package is installed.
GROUP, NAME = "airflow.plugins", "hpo"


class HpoPlugin(AirflowPlugin):
    """Names the plugin, with its REST API, its pages, and what spares forks their imports."""

    name = NAME
    fastapi_apps = [api.MOUNTED, pages.MOUNTED]  # noqa: RUF012 - as Airflow has it
    external_views = pages.VIEWS
    listeners = [preloading]  # noqa: RUF012
