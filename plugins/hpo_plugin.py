"""The plugin with pages for Airflow's UI, where it is found in the plugins folder: here.

Airflow's loader runs this file alone; everything else is the package hpo_airflow. Where that is
installed, its entry point names the plugin, which Airflow is not to have twice.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from hpo_airflow import plugin

if not entry_points(group=plugin.GROUP, name=plugin.NAME):
    HpoPlugin = plugin.HpoPlugin
