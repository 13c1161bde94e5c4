"""Airflow's listener that imports, before a component forks, what the forks would import.

The DAG processor forks a process for each look at a DAG file. Under LocalExecutor the scheduler
forks one for each task. Each of them spent seconds of CPU time on the same imports: the more
backends are set up, the more.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import product
from typing import Any

from pluggy import HookimplMarker

_log = logging.getLogger(__name__)
#: What tasks import when they run: the DAG files import nothing of it.
_OF_TASKS = (
    "airflow.sdk.execution_time.request_handlers",
    "airflow.sdk.execution_time.supervisor",
    "hpo_airflow.connections",
    "hpo_airflow.dags",
    "hpo_airflow.deployers",
    "hpo_airflow.store_hook",
    "hpo_lib.backends.local",
    "hpo_lib.cli.airflow_api",
    "hpo_lib.collectors.stdout",
    "hpo_lib.promotion.challenger",
    "hpo_lib.report",
    "hpo_lib.runs.admission",
    "hpo_lib.runs.lifecycle",
    "hpo_lib.runs.outputs",
    "hpo_lib.samplers.bayesian",
    "hpo_lib.samplers.random",
    "hpo_lib.schedulers.fifo",
    "hpo_lib.store",
    "hpo_lib.trials.runner",
    "psutil",
    "skopt.learning",
)


@HookimplMarker("airflow")  # type: ignore[untyped-decorator,unused-ignore]
def on_starting(component: Any) -> None:
    """Import it where a job of Airflow's starts whose processes need it; never in a task."""
    if type(component).__name__ != "Job":
        return
    for name in _modules(sys.argv):
        with suppress(ImportError):
            import_module(name)
    if _looks_at_dags(sys.argv):
        _make_dags()


def _modules(argv: Sequence[str]) -> tuple[str, ...]:
    """Give what tasks import if this command line's component forks them."""
    from hpo_lib.registry import FORMATS

    if not _forks_tasks(argv):
        return ()
    return _OF_TASKS + tuple({target.partition(":")[0] for target in FORMATS.values()})


def _looks_at_dags(argv: Sequence[str]) -> bool:
    return "dag-processor" in argv or _forks_tasks(argv)


def _forks_tasks(argv: Sequence[str]) -> bool:
    from airflow.configuration import conf

    return "scheduler" in argv and "LocalExecutor" in conf.get("core", "executor")


def _make_dags() -> None:
    """Make the DAGs of the shipped backends once, and so import what they are made of.

    An operator's own backends are left out: a DAG file that is looked at again sees their changes.
    """
    try:
        from hpo_airflow import dags, scheduled_dag  # noqa: F401
        from hpo_airflow.on_demand import on_demand_dags

        dags.housekeeping()
        for dag_id in _shipped():
            dict(on_demand_dags("", dag_id))
    except Exception:
        _log.info("DAGs cannot be made yet: their files say why", exc_info=True)


def _shipped() -> Iterator[str]:
    from hpo_lib.registry import BACKENDS
    from hpo_lib.runs.shape import dag_id_of

    for backend, in_slots in product(BACKENDS, (True, False)):
        yield dag_id_of(backend, "", in_slots=in_slots)
