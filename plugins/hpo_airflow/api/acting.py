"""Routes that change something: submit, stop, cancel, extend, approve, stop a trial, add a point.

Each may be asked again, by whoever has not heard the answer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from hpo_airflow import settings
from hpo_airflow.api.airflow import Airflow, path_of
from hpo_airflow.api.origin import from_here
from hpo_airflow.api.parts import (
    Number,
    RunToApprove,
    RunToChange,
    RunToExtend,
    RunWithTrialsToStop,
    StoreDep,
)
from hpo_airflow.api.rights import CallerDep, Right, actor, require
from hpo_airflow.installation import this_installation
from hpo_airflow.labels import APPROVE, REJECT
from hpo_airflow.slot_tasks import SLOTS
from hpo_lib.cli import answers
from hpo_lib.core.teams import no_team
from hpo_lib.errors import AlreadyFinished, NotFound
from hpo_lib.records import ModelStatus, RunKey, RunStatus
from hpo_lib.runs import changes

router = APIRouter(tags=["act"], dependencies=[Depends(from_here)])
_Team = Annotated[
    str, Query(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,49})?$", description="whose DAG it is to be")
]
_Name = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z0-9_.~:+-]{1,250}$",
        description="the name of the DAG run: with one of your own you may ask again",
    ),
]
_SUGGEST = re.compile(r"wave_\d+\.suggest")
_UNDER_WAY = ("queued", "running")
#: States of a task that does not run by itself any more.
_OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


class Point(BaseModel):
    """A configuration to try: a value for each active parameter of the space."""

    params: dict[str, Any]


class Extension(BaseModel):
    """How many trials a run is to have in all, those included that it has."""

    max_trials: int = Field(ge=1, le=100_000)


class Approval(BaseModel):
    """Whether a challenger is to be deployed."""

    approve: bool


def _dag_for(who: CallerDep, conf: answers.Spec, team: _Team = "") -> str:
    """Check a conf as its DAG will, and name the DAG."""
    from hpo_lib.runs import admission
    from hpo_lib.runs.shape import dag_id_of
    from hpo_lib.spec.draft import draft

    made, here = draft(conf.root), this_installation(team)
    backend = made.spec.trial.backend
    dag_id = dag_id_of(backend, team)
    if team and team not in here.teams and (here.teams or not settings.several_teams()):
        theirs = (one for one in here.teams if who.may(Right.START_RUNS, dag_id_of(backend, one)))
        raise no_team(team, theirs)
    require(who, Right.START_RUNS, dag_id)
    made.found(admission.problems(made, here, backend=backend)).checked()
    return dag_id


@router.post("/runs", status_code=202)
async def submit_run(
    request: Request,
    conf: answers.Spec,
    dag_id: Annotated[str, Depends(_dag_for)],
    dag_run_id: _Name = None,
) -> answers.Submitted:
    """Start a run of a spec, the body, on the DAG of its backend, of a `team` if there is one.

    The spec is checked now, and again by the DAG. With a `dag_run_id` of your own, a run is started
    once, however often you ask.
    """
    key = RunKey(dag_id, dag_run_id or f"manual__{datetime.now(UTC).isoformat()}")
    body = {"logical_date": None, "conf": conf.root, "dag_run_id": key.dag_run_id}
    airflow = Airflow(request)
    try:
        path = f"/dags/{quote(key.dag_id, safe='')}/dagRuns"
        started = await airflow.call("POST", path, body)
    except AlreadyFinished:
        started = await airflow.call("GET", path_of(key))
    return answers.Submitted(
        dag_id=key.dag_id, dag_run_id=key.dag_run_id, state=str(started["state"])
    )


@router.post("/runs/{run_id}/stop")
def stop_run(run: RunToChange, who: CallerDep, store: StoreDep) -> answers.Stopped:
    """End a run gracefully: no trial begins any more, those that run are stopped, a report follows.

    A run that has ended stays as it is.
    """
    ended = changes.stop(store, run, actor(who))
    stop = store.stop_of(run.id)
    reason = ended.reason or (None if stop is None else stop.reason)
    return answers.Stopped(run=run.id, state=ended.status, reason=reason)


@router.post("/runs/{run_id}/cancel")
async def cancel_run(
    request: Request, run: RunToChange, who: CallerDep, store: StoreDep
) -> answers.Stopped:
    """End a run at once, as marking its DAG run as failed does; housekeeping writes its report.

    A run that has ended stays as it is.
    """
    if run.status is not RunStatus.RUNNING:
        return answers.Stopped(run=run.id, state=run.status, reason=run.reason)
    await run_in_threadpool(changes.cancel, store, run, actor(who))
    airflow = Airflow(request)
    if (await airflow.call("GET", path_of(run.key)))["state"] in _UNDER_WAY:
        await airflow.call("PATCH", path_of(run.key), {"state": "failed"})
    stop = await run_in_threadpool(store.stop_of, run.id)
    return answers.Stopped(run=run.id, state="failed", reason=stop.reason if stop else None)


@router.post("/runs/{run_id}/trials/{number}/stop")
def stop_trial(
    run: RunWithTrialsToStop, number: Number, who: CallerDep, store: StoreDep
) -> answers.Stopped:
    """Stop a trial within seconds: it counts as stopped, not as a failure; the run goes on.

    A trial that has ended stays as it is.
    """
    trial = changes.stop_trial(store, run, number, actor(who))
    told = store.told_to_stop(run.id, number)
    return answers.Stopped(run=run.id, trial=number, state=trial.state, reason=trial.reason or told)


@router.post("/runs/{run_id}/points")
def add_point(run: RunToChange, point: Point, who: CallerDep, store: StoreDep) -> answers.Run:
    """Have a run try a configuration next, as one of its limits.max_trials.

    A configuration that was tried, or is going to be, changes nothing.
    """
    return answers.Run.of(changes.add_point(store, run, point.params, actor(who)))


@router.post("/runs/{run_id}/extend")
async def extend_run(
    request: Request, run: RunToExtend, wanted: Extension, who: CallerDep, store: StoreDep
) -> answers.Run:
    """Let a run have more trials, with its history; one that has ended goes on.

    A run that was stopped, and has fewer trials than it may, goes on with the same `max_trials`.
    """
    airflow, dag = Airflow(request), quote(run.key.dag_id, safe="")
    await airflow.call("GET", path_of(run.key))
    tasks = (await airflow.call("GET", f"/dags/{dag}/tasks"))["tasks"]
    names = {str(one["task_id"]) for one in tasks}
    waves = None if SLOTS in names else sum(bool(_SUGGEST.fullmatch(one)) for one in names)
    extended = await run_in_threadpool(
        changes.extend, store, run, wanted.max_trials, actor(who), waves=waves
    )
    next_task = SLOTS
    if waves is not None:
        wave = await run_in_threadpool(changes.next_wave, store, extended)
        next_task = f"wave_{wave:02d}.suggest"
    await _begin_again(airflow, extended.key, next_task)
    return answers.Run.of(extended)


@router.post("/runs/{run_id}/approval")
async def answer_approval(
    request: Request, run: RunToApprove, said: Approval, store: StoreDep
) -> answers.Stopped:
    """Approve or reject a challenger that Airflow asks about; 409 while it does not ask.

    Airflow notes who has answered, and the task that goes on writes it into the audit trail.
    """
    model = await run_in_threadpool(store.models.of_run, run.id)
    if model is None:
        raise AlreadyFinished(f"run {run.id} has no challenger to approve")
    if model.status is not ModelStatus.CHALLENGER or model.approved is not None:
        raise AlreadyFinished(f"version {model.version} is {model.status}: {model.reason}")
    body = {"chosen_options": [APPROVE if said.approve else REJECT], "params_input": {}}
    path = f"{path_of(run.key)}/taskInstances/approve/-1/hitlDetails"
    try:
        await Airflow(request).call("PATCH", path, body)
    except NotFound:
        raise AlreadyFinished(f"run {run.id} does not ask for approval now") from None
    word = "approved" if said.approve else "rejected"
    return answers.Stopped(run=run.id, state=word, reason=f"{model.experiment} v{model.version}")


async def _begin_again(airflow: Airflow, key: RunKey, task_id: str) -> None:
    """Have Airflow run a task again with all that follows, unless it is going to by itself."""
    task = await airflow.call("GET", f"{path_of(key)}/taskInstances/{task_id}")
    if task["state"] not in _OVER:
        return
    body = {
        "dry_run": False,
        "dag_run_id": key.dag_run_id,
        "task_ids": [task_id],
        "include_downstream": True,
        "only_failed": False,
        "reset_dag_runs": True,
    }
    await airflow.call("POST", f"/dags/{quote(key.dag_id, safe='')}/clearTaskInstances", body)
