"""The bodies of the control tasks: thin, and the one place where errors become Airflow's."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from hpo_airflow import settings
from hpo_lib.errors import SpecError, StoreError, TrialFailed
from hpo_lib.record import RunKey

if TYPE_CHECKING:
    from hpo_lib.record import Run
    from hpo_lib.trial import Params

log = logging.getLogger(__name__)
_LABEL = 200
_PACKAGES = ("apache-airflow", "hpo-lib", "numpy", "scikit-optimize", "scipy", "SQLAlchemy")


@contextmanager
def errors() -> Iterator[None]:
    """Translate: a wrong spec or a failed trial fails at once, all else is retried by Airflow."""
    try:
        yield
    except (SpecError, TrialFailed) as error:
        log.error("%s", error)
        raise AirflowFailException(str(error)) from None
    except StoreError as error:
        raise AirflowException(str(error)) from None


def key_of(context: Mapping[str, Any]) -> RunKey:
    """Name our run after the DAG run."""
    return RunKey(context["dag_run"].dag_id, context["dag_run"].run_id)


def validate(context: Mapping[str, Any], backend: str) -> dict[str, Any]:
    """Check the conf and start the run; without a conf the DAG's example is the conf."""
    from hpo_lib import runs

    dag_run = context["dag_run"]
    conf = dag_run.conf or dict(context["params"])
    with errors(), settings.open_store() as store:
        run = runs.begin(
            store,
            key_of(context),
            conf,
            settings.deployment(),
            backend=backend,
            triggered_by=getattr(dag_run, "triggering_user_name", None) or dag_run.run_type.value,
            provenance=provenance(),
        )
    log.info("run %s of experiment %s: %s", run.id, run.experiment, run.status)
    return {"run": run.id, "experiment": run.experiment}


def suggest(context: Mapping[str, Any], wave: int) -> tuple[list[dict[str, Any]], str | None]:
    """Give the wave's assignments for its mapped trials, and the reason to stop if there is one."""
    from hpo_lib import runs

    with errors(), settings.open_store() as store:
        lease = runs.next_wave(store, key_of(context), wave, settings.deployment())
    if lease.stop is not None:
        log.info("no further trials: %s", lease.stop.reason)
        return [], lease.stop.reason
    for assignment in lease.assignments:
        log.info("trial %s (%s): %s", assignment.trial, assignment.origin, assignment.params)
    return [
        {"trial": assignment.trial, "label": label(assignment.trial, assignment.params)}
        for assignment in lease.assignments
    ], None


def report(context: Mapping[str, Any]) -> dict[str, Any]:
    """End the run, write its report, and fail the task if the run failed."""
    from hpo_lib import runs
    from hpo_lib.record import RunStatus

    deployment = settings.deployment()
    with errors(), settings.open_store() as store:
        run = runs.finish(store, key_of(context), deployment)
        path = runs.write_report(store, run, deployment)
        runs.keep_artifacts(store, run, deployment)
    log.info("run %s is %s: %s", run.id, run.status, run.reason)
    log.info("report: %s", path)
    if run.status is RunStatus.FAILED:
        raise AirflowFailException(f"the run failed: {run.reason} (report: {path})")
    return summary(run, str(path))


def summary(run: Run, path: str) -> dict[str, Any]:
    """Give what other DAGs may want to know of an ended run."""
    return {"run": run.id, "status": str(run.status), "reason": run.reason, "report": path}


def label(number: int, params: Params) -> str:
    """Name a mapped trial for the grid: its number and its parameters, short."""
    values = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )
    text = f"{number}: {values}"
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def provenance() -> dict[str, str]:
    """Name the versions that this run is made with."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
