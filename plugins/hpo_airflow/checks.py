"""What `hpo airflow check` looks at: what an Airflow has to have for this package, one thing a row.

A check says that something is there, or what is missing and what to do. Some can be mended: that is
tried if it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from airflow.configuration import conf

from hpo_airflow import settings
from hpo_lib.errors import HpoError

OK, MISSING, WRONG, MENDED, ABSENT = "ok", "missing", "wrong", "mended", "absent"
_SERIES = "3.3."
_HOUR = 3_600
#: The least that settings of Airflow have to be, and why; config/airflow.cfg has values that are
#: known to work.
_LEAST = {
    ("scheduler", "task_queued_timeout"): (24 * _HOUR, "trials wait in their pool"),
    ("workers", "max_failed_heartbeats"): (20, "trials outlive a restart of the API server"),
}

_READS = (
    "the DAG files are there, so its DAG processor has to run: it looks for new ones every "
    "refresh_interval, and Airflow's page shows what it cannot import"
)
WriteDags = Callable[[Path], Iterable[str]]


class Finding(NamedTuple):
    """What was found of one thing: its name, how it is, and what to know of that."""

    name: str
    state: str
    text: str


def dags_folder() -> Path:
    """Give the folder in which Airflow looks for DAGs if nothing else is said."""
    return Path(conf.get_mandatory_value("core", "dags_folder"))


def findings(*, fix: bool, write_dags: WriteDags) -> Iterator[Finding]:
    """Check one thing after the other, and mend what can be mended if that is asked for."""
    yield _airflow()
    yield _plugin()
    database = _database()
    yield database
    if database.state == OK:
        dags = _dags(write_dags if fix else None)
        yield dags
        if dags.state == OK:
            yield _pause(fix=fix)
        yield _pool(fix=fix)
    yield _store(fix=fix)
    yield _folder()
    yield from _settings()
    yield _deployment()
    yield from _backends()


def _airflow() -> Finding:
    from airflow import __version__

    known = __version__.startswith(_SERIES)
    return Finding("airflow", OK if known else MISSING, f"{__version__}; needed is {_SERIES}x")


def _database() -> Finding:
    """See whether Airflow's database is ready; what is in it can be looked at only then."""
    from airflow.utils.db import check_migrations

    try:
        check_migrations(0)
    except Exception as error:
        why = f"run `airflow db migrate`, then this again ({_first_line(error)})"
        return Finding("airflow's database", MISSING, why)
    return Finding("airflow's database", OK, "it is at this version's revision")


def _plugin() -> Finding:
    from airflow.plugins_manager import get_plugin_info

    from hpo_airflow.plugin import NAME

    sources = [str(one["source"]) for one in get_plugin_info(["source"]) if one["name"] == NAME]
    if not sources:
        return Finding("plugin", MISSING, "Airflow does not list the plugin hpo")
    return Finding("plugin", OK, sources[0])


def _dags(write: WriteDags | None) -> Finding:
    """Look for `hpo_local`, which is there wherever the DAG files are read."""
    if (why := _no_dag("hpo_local")) is None:
        return Finding("dags", OK, "Airflow knows hpo_local")
    if any(dags_folder().rglob("hpo_on_demand.py")):
        return Finding("dags", MISSING, f"{why}; {_READS}")
    if write is None:
        return Finding("dags", MISSING, f"{why}; `hpo init-airflow` writes the DAG files")
    wrote = "; ".join(write(dags_folder()))
    return Finding("dags", MENDED, f"{why}; {wrote}")


def _no_dag(dag_id: str) -> str | None:
    """Say why Airflow does not run a DAG; None if it does."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    try:
        with create_session() as session:
            found = session.get(DagModel, dag_id)
            if found is None or found.is_stale:
                return f"Airflow has not read a DAG {dag_id}, or not yet"
    except Exception as error:
        return f"Airflow's database cannot be read ({_first_line(error)})"
    return None


def _pause(*, fix: bool) -> Finding:
    """See whether `hpo_local` is paused, as Airflow has new DAGs by default."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    from hpo_lib.cli.airflow_api import paused

    name = "pause of hpo_local"
    try:
        with create_session() as session:
            dag = session.get(DagModel, "hpo_local")
            if dag is None or not dag.is_paused:
                return Finding(name, OK, "it is not paused")
            if not fix:
                return Finding(name, WRONG, paused("hpo_local"))
            dag.is_paused = False
    except Exception as error:
        return Finding(name, MISSING, f"Airflow's database cannot be read ({_first_line(error)})")
    return Finding(name, MENDED, "it was paused, and is not any more")


def _pool(*, fix: bool) -> Finding:
    """Look for the pool of trials; one that is made leaves two places for control tasks."""
    from airflow.models.pool import Pool

    name, slots = str(settings.placement()["pool"]), max(1, conf.getint("core", "parallelism") - 2)
    try:
        if (found := Pool.get_pool(name)) is not None:
            return Finding("pool", OK, f"{name}, of {found.slots} slots")
        if not fix:
            return Finding("pool", MISSING, f"{name}: `airflow pools set {name} {slots} trials`")
        Pool.create_or_update_pool(name, slots, "trials of hyperparameter tuning", False)
    except Exception as error:
        return Finding("pool", MISSING, f"{name}: {_first_line(error)}")
    return Finding("pool", MENDED, f"{name}, of {slots} slots")


def _store(*, fix: bool) -> Finding:
    from airflow.models.connection import Connection

    from hpo_airflow.installation import store_url
    from hpo_lib.store import Store, upgrade

    try:
        url = store_url(Connection.get_connection_from_secrets)
        try:
            with Store.open(url):
                return Finding("store", OK, "it is at this version's revision")
        except HpoError:
            if not fix:
                raise
        return Finding("store", MENDED, f"it is at revision {upgrade(url)} now")
    except HpoError as error:
        more = "" if fix else "; --fix tries to prepare it"
        return Finding("store", MISSING, f"{_first_line(error)}{more}")


def _folder() -> Finding:
    """See whether attempts and reports can be written."""
    home = settings.environment().home
    there = next(one for one in (home, *home.parents) if one.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return Finding("folder of results", OK, str(home))
    return Finding("folder of results", MISSING, f"{there} may not be written to: see HPO_HOME")


def _settings() -> Iterator[Finding]:
    for (section, key), (least, why) in _LEAST.items():
        found = conf.getfloat(section, key)
        state, said = OK, f"{found:g}"
        if found < least:
            variable = f"AIRFLOW__{section}__{key}".upper()
            state, said = WRONG, f"must be >= {least}, as {why}, got {said}: see {variable}"
        yield Finding(f"[{section}] {key}", state, said)


def _deployment() -> Finding:
    """Check the file that the operator's rules are read from: it need not be there."""
    site = settings.environment()
    path = site.deployment
    try:
        site.check()
    except HpoError as error:
        return Finding("deployment.yaml", WRONG, f"{path}: {_first_line(error)}")
    if path.exists():
        return Finding("deployment.yaml", OK, str(path))
    return Finding("deployment.yaml", ABSENT, f"there is no {path}: the defaults hold")


def _backends() -> Iterator[Finding]:
    """See which backends have a DAG, and whether what the operator says of them can be used."""
    from hpo_airflow.on_demand import installed
    from hpo_lib.installation import built
    from hpo_lib.registry import backends

    for name, row in sorted(backends().items()):
        title, site = f"backend {name}", settings.environment()
        try:
            if not site.is_set_up(name):
                yield Finding(title, ABSENT, f"deployment.yaml has no section {name}")
            elif not installed(row):
                yield Finding(title, MISSING, f"it needs {row.needs}, which is not installed")
            else:
                built(name, site)
                yield Finding(title, OK, f"the DAG hpo_{name}")
        except Exception as error:
            yield Finding(title, MISSING, _first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
