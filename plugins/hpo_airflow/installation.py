"""This installation for `hpo_lib`, which reaches the world by Airflow's connections."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from hpo_airflow.settings import ROOT

if TYPE_CHECKING:
    from hpo_lib.backends import Backend
    from hpo_lib.installation import Environment, Installation
    from hpo_lib.store import Store

_CONNECTION = "hpo_store"


def this_site() -> Environment:
    """Give what backends and deployers are built with."""
    from hpo_airflow.connections import AirflowConnections
    from hpo_lib.installation import Environment

    return Environment(ROOT, AirflowConnections())


def this_installation() -> Installation:
    """Put together what this installation offers."""
    from hpo_airflow import deployers
    from hpo_lib.installation import installation_of

    site = this_site()
    return installation_of(site, partial(deployers.wanted, site))


def backend(name: str) -> Backend:
    """Build a backend."""
    from hpo_lib.installation import built

    return built(name, this_site())


def open_store() -> Store:
    """Open the store; StoreError says how to prepare it."""
    from hpo_lib.store import Store

    return Store.open(_store_url())


def _store_url() -> str:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    if url := os.environ.get("HPO_STORE"):
        return url
    try:
        return str(BaseHook.get_connection(_CONNECTION).get_uri())
    except AirflowNotFoundException:
        return f"sqlite:///{this_site().home / 'hpo.db'}"
