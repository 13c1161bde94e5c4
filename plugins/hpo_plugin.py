"""The plugin with pages for Airflow's UI, where it is found in the plugins folder: here.

Airflow's loader runs this file alone; everything else is the package hpo_airflow. Where that is
installed, its entry point names the plugin, which Airflow is not to have twice.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

from hpo_airflow import plugin


def _is_installed() -> bool:
    """Look at our own package alone: each task is here, and all packages together take long."""
    try:
        found = distribution("hpo-lib").entry_points
    except PackageNotFoundError:
        return False
    return bool(found.select(group=plugin.GROUP, name=plugin.NAME))


if not _is_installed():
    HpoPlugin = plugin.HpoPlugin
