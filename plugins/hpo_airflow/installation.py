"""This installation for `hpo_lib`, which reaches the world by Airflow's connections."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpo_airflow import settings

if TYPE_CHECKING:
    from hpo_lib.backends import Backend
    from hpo_lib.installation import Environment, Installation
    from hpo_lib.store import Store


def this_site(team: str = "") -> Environment:
    """Give what backends and deployers are built with, for a team."""
    from hpo_airflow.connections import AirflowConnections
    from hpo_lib.installation import Environment

    return Environment(settings.root(), AirflowConnections(), team=team)


def this_installation(team: str = "") -> Installation:
    """Put together what this installation offers a team."""
    from hpo_airflow import deployers
    from hpo_lib.installation import installation_of

    return installation_of(this_site(team), deployers.wanted)


def team_of(context: Mapping[str, Any]) -> str:
    """Say whose a DAG run is, by its bundle, its DAG's tags and its name, and never by its conf.

    SpecError if these do not agree, or Airflow has several teams and the bundle is of none.
    """
    from hpo_lib.core import teams
    from hpo_lib.errors import SpecError

    dag, of_airflow = context["dag"], getattr(context["dag_run"], "team_name", None)
    found = teams.team_of(dag.dag_id, dag.tags, this_site().teams, of_airflow)
    if found and of_airflow is None and settings.several_teams():
        raise SpecError(
            f"DAG {dag.dag_id} says that it is of team {found}, but its bundle is of none: "
            "everybody may trigger it"
        )
    return found


def backend(name: str, team: str = "") -> Backend:
    """Build a backend for a team; SpecError if the team may not have it."""
    from hpo_lib.errors import SpecError
    from hpo_lib.installation import built

    site = this_site(team)
    if not site.may.may_have(name):
        raise SpecError(f"backend {name} is not there for team {team}")
    return built(name, site)


def open_store(*, keep_open: bool = False) -> Store:
    """Open the store, as `Store.open` does; StoreError says how to prepare it."""
    from airflow.sdk import BaseHook

    from hpo_lib.store import Store

    return Store.open(store_url(BaseHook.get_connection), keep_open=keep_open)


def store_url(connection: Callable[[str], Any]) -> str:
    """Give the store's address: HPO_STORE, the connection `hpo_store`, else a file of SQLite.

    `connection` finds a connection by its name.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    from hpo_airflow.store_hook import StoreHook, address_of

    if url := os.environ.get("HPO_STORE"):
        return url
    try:
        return address_of(connection(StoreHook.default_conn_name))
    except AirflowNotFoundException:
        return f"sqlite:///{this_site().home / 'hpo.db'}"
