"""Housekeeping's tasks: end what is left over, tell of champions, show which files are broken."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from hpo_airflow import settings
from hpo_airflow.installation import open_store, this_installation
from hpo_airflow.tasks import BROKEN, errors
from hpo_lib.errors import SpecError

if TYPE_CHECKING:
    from hpo_lib.records import RunKey

log = logging.getLogger(__name__)


def sweep(context: Mapping[str, Any], folder: Path) -> list[str]:
    """End what is left over; give a sentence for each thing done, or not possible.

    `folder` is that of the files that have a DAG each. What is wrong in the operator's own file is
    said, too, as nobody else may read that part of it for weeks.
    """
    from hpo_lib import housekeeping
    from hpo_lib.runs.scheduled_files import orphaned

    ti = context["ti"]

    def is_over(key: RunKey) -> bool:
        going = ["queued", "running"]
        return not ti.get_dr_count(dag_id=key.dag_id, run_ids=[key.dag_run_id], states=going)

    said = []
    with errors(), open_store() as store:
        for sentence in housekeeping.sweep(
            store, this_installation(), is_over, lambda run: orphaned(run, folder)
        ):
            log.info("%s", sentence)
            said.append(sentence)
    try:
        settings.environment().check()
    except SpecError as error:
        log.warning("%s", error)
        said.append(str(error))
    return said


def announce(context: Mapping[str, Any]) -> list[str]:
    """Tell of champions that people have brought back outside of Airflow; give a line for each."""
    from hpo_airflow import final_tasks

    said = []
    with errors(), open_store() as store:
        for model in store.models.unannounced():
            final_tasks.announce(context, model)
            store.models.announced(model)
            sentence = f"told that version {model.version} of {model.experiment} is champion again"
            log.info("%s", sentence)
            said.append(sentence)
    return said


def broken_files(context: Mapping[str, Any], folder: Path) -> list[dict[str, str]]:
    """Give the DAG of each broken file, and a run of it that fails with what is wrong.

    The run is named by the error, so that it is not asked for again. Left out are DAGs that Airflow
    does not know yet, or that are paused, as their run would wait.
    """
    from hpo_lib.runs.scheduled_files import scheduled_files

    found = scheduled_files(folder, teams=settings.teams()) if folder.is_dir() else ()
    return [
        {"trigger_dag_id": file.dag_id, "trigger_run_id": f"{BROKEN}{_digest(file.error)}"}
        for file in found
        if file.error and _runs(context["ti"], file.dag_id)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]


def _runs(ti: Any, dag_id: str) -> bool:
    """Say whether a run of a DAG would begin."""
    try:
        return not ti.get_dag(dag_id).is_paused
    except AirflowRuntimeError:
        log.info("Airflow does not know %s yet", dag_id)
        return False
