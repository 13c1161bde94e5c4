"""Routes that read: experiments, runs, trials, what they have shown, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from hpo_airflow.api import models
from hpo_airflow.api.airflow import Airflow
from hpo_airflow.api.logs import log_of
from hpo_airflow.api.parts import (
    After,
    Limit,
    Number,
    RunToSee,
    RunWithLogs,
    RunWithTrials,
    StoreDep,
)
from hpo_airflow.api.rights import Caller, CallerDep, Right, require
from hpo_lib.cli.progress import line_of, so_far
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import NotFound, SpecError
from hpo_lib.records import Run, RunKey, RunStatus, RunView
from hpo_lib.store import Store
from hpo_lib.store.listing import Wanted

router = APIRouter(tags=["read"])
_Before = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="list runs below this number")
]
#: No run has more trials.
_ALL = 100_000
#: A report has scripts of its own: they run apart from Airflow's cookies and pages.
_APART = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}


def _text(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Document an answer that is no JSON, unlike the errors beside it."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


@router.get("/experiments")
def list_experiments(
    who: CallerDep, store: StoreDep, after: str = "", limit: Limit = 100
) -> models.Experiments:
    """List experiments by name, a page at a time."""
    found = store.listing.experiments(_seen(who, store), after, limit)
    rows = [models.Experiment.of(row) for row in found]
    return models.Experiments(experiments=rows, next=_next([one.name for one in rows], limit))


@router.get("/runs")
def list_runs(
    who: CallerDep,
    store: StoreDep,
    experiment: str | None = None,
    status: RunStatus | None = None,
    dag_id: str | None = None,
    dag_run_id: str | None = None,
    before: _Before = None,
    limit: Limit = 50,
) -> models.Runs:
    """List runs, the newest first, a page at a time; `dag_id` and `dag_run_id` find one."""
    seen, key = _seen(who, store), None
    if (dag_id is None) != (dag_run_id is None):
        raise SpecError("dag_id and dag_run_id: must be given together")
    if dag_id is not None and dag_run_id is not None:
        key = RunKey(dag_id, dag_run_id)
    found = store.listing.runs(Wanted(seen, experiment, status, key), before, limit)
    rows = [models.Run.of(run) for run in found]
    return models.Runs(runs=rows, next=_next([one.id for one in rows], limit))


@router.get("/runs/{run_id}")
def get_run(run: RunToSee, store: StoreDep) -> models.RunDetail:
    """Give a run with how far it is."""
    stop, history = store.stop_of(run.id), store.history(run.id)
    finals = store.listing.trials(run.id, -1, 1000, finals=True)
    return models.RunDetail.of(
        run,
        max_trials=_max_trials(run),
        trials={state: len(history.of(state)) for state in TrialState},
        finals=len(finals),
        line=line_of(store, run.key, str(run.status)) if finals else _line(store, run),
        stopping=None if stop is None else stop.reason,
        other_mode=_other_mode(store, run),
    )


@router.get("/runs/{run_id}/trials")
def list_trials(
    run: RunWithTrials,
    store: StoreDep,
    after: After = -1,
    limit: Limit = 100,
    final: bool = False,
) -> models.Trials:
    """List the trials of a run's search by number, or those of its `final` training."""
    found = store.listing.trials(run.id, after, limit, finals=final)
    rows = [models.Trial.of(view) for view in found]
    return models.Trials(trials=rows, next=_next([one.number for one in rows], limit))


@router.get("/runs/{run_id}/trials/{number}")
def get_trial(run: RunWithTrials, number: Number, store: StoreDep) -> models.Trial:
    """Give a trial."""
    return models.Trial.of(store.listing.trial(run.id, number))


@router.get("/runs/{run_id}/trials/{number}/observations")
def list_observations(
    run: RunWithTrials,
    number: Number,
    store: StoreDep,
    after: After = -1,
    limit: Limit = 1000,
) -> models.Observations:
    """List what a trial's newest attempt has shown; while it runs, what it has shown so far."""
    found = store.listing.observations(run.id, number, after, limit)
    rows = [models.Observation.of(position, seen) for position, seen in found]
    return models.Observations(observations=rows, next=_next([one.position for one in rows], limit))


@router.get("/runs/{run_id}/trials/{number}/log")
async def get_log(
    request: Request,
    run: RunWithLogs,
    number: Number,
    store: StoreDep,
    offset: After = 0,
    limit: Limit = 1000,
) -> models.Log:
    """Give lines of the log of a trial's task in Airflow, from `offset`; also while it runs."""
    return await log_of(Airflow(request), store, run, number, max(offset, 0), limit)


@router.get("/runs/{run_id}/best")
def get_best(run: RunWithTrials, store: StoreDep) -> models.Best:
    """Give the best trial so far; of several objectives, the trials on the Pareto front."""
    view = store.view(run.id)
    leading = [models.Trial.of(one) for one in view.trials if one.trial.number in view.front]
    names = [] if view.goal is None else [name for name, _ in view.goal.objectives]
    return models.Best(metrics=names, trials=leading)


@router.get("/runs/{run_id}/spec")
def get_spec(run: RunToSee) -> models.Spec:
    """Give the spec that a run has, as JSON; there is none of a run that was refused."""
    if not run.document:
        raise NotFound(f"run {run.id} was refused, the store has no spec of it: {run.reason}")
    return models.Spec(dict(run.document))


@router.get("/runs/{run_id}/report", response_class=Response, responses=_text("text/html"))
def get_report(run: RunWithTrials, store: StoreDep) -> HTMLResponse:
    """Give a run's report as it is now, one HTML page."""
    from hpo_lib import report

    return HTMLResponse(report.html(store.view(run.id)), headers=_APART)


@router.get("/runs/{run_id}/trials.csv", response_class=Response, responses=_text("text/csv"))
def get_csv(run: RunWithTrials, store: StoreDep) -> Response:
    """Give a run's trials as a table, as `trials.csv` beside the report."""
    from hpo_lib import report

    return Response(report.csv(store.view(run.id)), media_type="text/csv; charset=utf-8")


def _seen(who: Caller, store: Store) -> list[str]:
    """Name the DAGs with runs that somebody may see."""
    require(who, Right.SEE_RUNS)
    known = store.listing.dag_ids()
    return sorted(set(who.dags()).intersection(known))


def _max_trials(run: Run) -> int | None:
    """Give how many trials a run has at most; None if its spec cannot be read."""
    try:
        return run.spec.limits.max_trials
    except SpecError:
        return None


def _other_mode(store: Store, run: Run) -> str | None:
    """Say what the other mode would have cost a run that has ended."""
    from hpo_lib.report import modes

    if run.ended_at is None:
        return None
    return modes.told_of(RunView(run, store.listing.trials(run.id, -1, _ALL)))


def _line(store: Store, run: Run) -> str:
    """Say how far a run is, or why that cannot be said."""
    try:
        return so_far(store, run)
    except SpecError as error:
        return str(error)


def _next(keys: Sequence[Any], limit: int) -> Any:
    """Give where the next page begins; None if this one is not full."""
    return keys[-1] if len(keys) == limit else None
