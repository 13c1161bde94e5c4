"""The DAG of something that is broken: it shows the error, and fails with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from hpo_airflow import settings
from hpo_airflow.dag_factory import report, validate

if TYPE_CHECKING:
    from hpo_lib.runs.scheduled_files import ScheduledFile

_SUMMARY = 200


def broken(
    dag_id: str,
    doc: str,
    error: str,
    begin: Callable[[Mapping[str, Any]], dict[str, Any]],
    file: ScheduledFile | None = None,
    team: str = "",
) -> DAG:
    """Build a DAG that is never due; it ends, honestly, runs that were under way.

    `doc` says what is broken, the error follows it. `begin` is the body of the first task.
    """
    with DAG(
        dag_id,
        dag_display_name=f"{dag_id} (broken)",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["hpo", "broken", *settings.tags(team)],
        description=f"broken: {first_line(error)}",
        doc_md=f"{doc}\n{fenced(error)}\n",
        auto_register=False,
    ) as dag:
        validate(begin) >> report(file)
    return dag


def first_line(text: str) -> str:
    """Give the first line of a text, short."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _SUMMARY else f"{line[: _SUMMARY - 1]}…"


def inline(text: str) -> str:
    """Write a text as Markdown code within a line."""
    return f"`{text.replace('`', chr(39))}`"


def fenced(text: str, language: str = "") -> str:
    """Write a text as a block of Markdown code, with a fence that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
