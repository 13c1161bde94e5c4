"""Routes that read: experiments, runs, trials, what they have shown, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from hpo_airflow.api.airflow import Airflow
from hpo_airflow.api.logs import log_of
from hpo_airflow.api.parts import (
    After,
    Attempt,
    Limit,
    Number,
    RunToSee,
    RunWithLogs,
    RunWithTrials,
    StoreDep,
    seen_dags,
)
from hpo_airflow.api.rights import CallerDep
from hpo_lib.cli import answers, drawn, of_store
from hpo_lib.errors import SpecError
from hpo_lib.records import Looked, RunKey, RunStatus
from hpo_lib.store.listing import Wanted

router = APIRouter(tags=["read"])
_Before = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="list runs below this number")
]
#: A report has scripts of its own: they run apart from Airflow's cookies and pages.
_APART = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}


def _text(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Document an answer that is no JSON, unlike the errors beside it."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


@router.get("/experiments")
def list_experiments(
    who: CallerDep, store: StoreDep, after: str = "", limit: Limit = 100
) -> answers.Experiments:
    """List experiments by name, a page at a time."""
    return of_store.experiments(store, seen_dags(who, store), after, limit)


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
) -> answers.Runs:
    """List runs, the newest first, a page at a time; `dag_id` and `dag_run_id` find one."""
    seen, key = seen_dags(who, store), None
    if (dag_id is None) != (dag_run_id is None):
        raise SpecError("dag_id and dag_run_id: must be given together")
    if dag_id is not None and dag_run_id is not None:
        key = RunKey(dag_id, dag_run_id)
    return of_store.runs(store, Wanted(seen, experiment, status, key), before, limit)


@router.get("/runs/{run_id}")
def get_run(run: RunToSee, store: StoreDep) -> answers.RunDetail:
    """Give a run with how far it is."""
    return of_store.run(store, run)


@router.get("/runs/{run_id}/trials")
def list_trials(
    run: RunWithTrials,
    store: StoreDep,
    after: After = -1,
    limit: Limit = 100,
    final: bool = False,
) -> answers.Trials:
    """List the trials of a run's search by number, or those of its `final` training."""
    return of_store.trials(store, run, after, limit, finals=final)


@router.get("/runs/{run_id}/trials/{number}")
def get_trial(run: RunWithTrials, number: Number, store: StoreDep) -> answers.Trial:
    """Give a trial."""
    return answers.Trial.of(store.listing.trial(run.id, number))


@router.get("/runs/{run_id}/trials/{number}/observations")
def list_observations(
    run: RunWithTrials,
    number: Number,
    store: StoreDep,
    after: After = -1,
    limit: Limit = 1000,
) -> answers.Observations:
    """List what a trial's newest attempt has shown; while it runs, what it has shown so far."""
    found = store.listing.observations(run.id, number, after, limit)
    rows = [answers.Observation.of(position, seen) for position, seen in found]
    following = of_store.next_of([one.position for one in rows], limit)
    return answers.Observations(observations=rows, next=following)


@router.get("/runs/{run_id}/trials/{number}/log")
async def get_log(
    request: Request,
    run: RunWithLogs,
    number: Number,
    store: StoreDep,
    offset: After = 0,
    limit: Limit = 1000,
    attempt: Attempt = None,
) -> answers.Log:
    """Give lines of the log of a trial's task in Airflow, from `offset`; also while it runs.

    They are those of all its attempts, or of one `attempt`.
    """
    airflow, begin = Airflow(request), max(offset, 0)
    return await log_of(airflow, store, run, number, begin, limit, attempt=attempt)


@router.get("/runs/{run_id}/best")
def get_best(run: RunWithTrials, store: StoreDep) -> answers.Best:
    """Give the best trial so far; of several objectives, the trials on the Pareto front."""
    return of_store.best(store, run)


@router.get("/runs/{run_id}/spec")
def get_spec(run: RunToSee) -> answers.Spec:
    """Give the spec that a run has, as JSON; there is none of a run that was refused."""
    return of_store.spec(run)


@router.get("/runs/{run_id}/report", response_class=Response, responses=_text("text/html"))
def get_report(run: RunWithTrials, store: StoreDep) -> HTMLResponse:
    """Give a run's report as it is now, one HTML page; it takes seconds to write."""
    text, _ = drawn.made_apart(store, "report", run.id)
    return HTMLResponse(text, headers=_APART)


@router.get("/runs/{run_id}/trials.csv", response_class=Response, responses=_text("text/csv"))
def get_csv(run: RunWithTrials, store: StoreDep) -> Response:
    """Give a run's trials as a table, as `trials.csv` beside the report."""
    from hpo_lib import report

    found = store.view(run.id, lambda _: Looked())
    return Response(report.csv(found), media_type="text/csv; charset=utf-8")
