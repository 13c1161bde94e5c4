"""The DAG of something that is broken: it shows the error, and fails with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from hpo_airflow import settings
from hpo_airflow.dag_factory import report, validate
from hpo_airflow.markdown import first_line, listed
from hpo_lib.words import count

if TYPE_CHECKING:
    from hpo_lib.runs.scheduled_files import ScheduledFile


def broken(
    dag_id: str,
    doc: str,
    error: str,
    begin: Callable[[Mapping[str, Any]], dict[str, Any]],
    file: ScheduledFile | None = None,
    team: str = "",
) -> DAG:
    """Build a DAG that is never due; it ends, honestly, runs that were under way.

    `doc` says what is broken, the error follows it, a line a problem. `begin` is the body of the
    first task.
    """
    with DAG(
        dag_id,
        dag_display_name=f"{dag_id} (broken)",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["hpo", "broken", *settings.tags(team)],
        description=f"broken: {first_line(error)}{_further(error)}",
        doc_md=f"{doc}\n{listed(error)}\n",
        access_control=settings.access(team),
        auto_register=False,
    ) as dag:
        validate(begin) >> report(file)
    return dag


def _further(error: str) -> str:
    more = len(error.splitlines()) - 1
    return f" (and {count(more, 'further line')})" if more > 0 else ""
