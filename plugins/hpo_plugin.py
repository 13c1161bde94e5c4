"""The plugin, where pages for Airflow's UI will be named: the only file that its loader runs.

Everything else is the package hpo_airflow.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class HpoPlugin(AirflowPlugin):
    """Names the plugin in Airflow's list of plugins; its UI pages come later."""

    name = "hpo"
