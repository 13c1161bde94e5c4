"""Telling people that a DAG run is late: called by Airflow's triggerer, which knows no task."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from hpo_lib.core.notices import Event, Notice
from hpo_lib.spec.units import seconds


def alert(limit: str | None, experiment: str, team: str) -> DeadlineAlert | None:
    """Have it told that a run goes on `limit` after it was queued; None if there is no limit."""
    if limit is None:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=seconds(limit)),
        callback=AsyncCallback(
            f"{__name__}.late", {"experiment": experiment, "team": team, "limit": limit}
        ),
    )


async def late(
    experiment: str, team: str, limit: str, context: Mapping[str, Any] | None = None
) -> None:
    """Tell it, in a thread, as notifiers may take their time."""
    from hpo_airflow.notices import tell

    run = (context or {}).get("dag_run") or {}
    run_id = run.get("dag_run_id") or run.get("run_id") if isinstance(run, Mapping) else None
    text = f"The DAG run {run_id or 'of ' + experiment} goes on after {limit}, its deadline."
    notice = Notice(Event.LATE, experiment, f"{experiment}: a run is late", text)
    await asyncio.to_thread(tell, dict(context or {}), notice, team)
