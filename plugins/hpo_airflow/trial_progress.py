"""How far a running trial is, where people look in Airflow: its log, its name, its run's note."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_airflow import run_note
from hpo_airflow.labels import running_label, standing
from hpo_lib.records import RunKey

if TYPE_CHECKING:
    from hpo_lib.records.shown import Shown
    from hpo_lib.spec import Spec
    from hpo_lib.store import Store
    from hpo_lib.trials.live import Tell

log = logging.getLogger(__name__)


def teller(
    context: Mapping[str, Any], store: Store, key: RunKey, assignment: Mapping[str, Any], spec: Spec
) -> Tell:
    """Give what is told now and then what a trial has shown, and says so in Airflow."""
    objectives = [name for name, _ in spec.goal.objectives]

    def tell(shown: Shown) -> None:
        said = shown.line(objectives)
        log.info("trial %s so far: %s", assignment["trial"], said)
        rename(context["ti"], running_label(assignment["label"], said))
        run_note.write(context, lambda: standing(store, key))

    return tell


def rename(ti: Any, label: str) -> None:
    """Name a mapped task anew while it runs; at its end Airflow takes the name of its template."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import SetRenderedMapIndex

    ti.rendered_map_index = label
    try:
        task_runner.SUPERVISOR_COMMS.send(msg=SetRenderedMapIndex(rendered_map_index=label))
    except Exception as error:
        log.warning("Airflow does not show what runs: %s", error)
