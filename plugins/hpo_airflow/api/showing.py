"""Routes that pages ask again and again: runs and experiments at a glance, trials as a table.

What has not changed since the caller's ETag is answered by 304, without being put together.
"""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field, StringConstraints

from hpo_airflow.api.logs import trials_of_task
from hpo_airflow.api.parts import MOST, RunWithTrials, StoreDep, seen_dags
from hpo_airflow.api.rights import CallerDep, Right, require, require_of
from hpo_lib import __version__
from hpo_lib.cli import overview, overview_answers
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import SpecError
from hpo_lib.records import RunKey, RunStatus
from hpo_lib.store.overview import Sought
from hpo_lib.store.table import Asked, Condition

router = APIRouter(tags=["show"])
_ROWS = overview.Rows()
#: NUL is no character for PostgreSQL.
_Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
_Offset = Annotated[int, Query(ge=0, le=1_000_000, description="how many to leave out before")]
_Limit = Annotated[int, Query(ge=1, le=500, description="how many at most")]
_Sort = Annotated[_Text, Query(description="a column, with `-` in front for the largest first")]
_Search = Annotated[_Text, Query(description="part of a name, a reason, or who")]
_Columns = Annotated[list[_Text], Query(max_length=200, description="in this order")]
_Where = Annotated[
    list[_Text],
    Query(max_length=20, description="conditions: a column, <= >= < > = != or ~ (contains), value"),
]
_Name = Annotated[_Text, Path(description="the full name of an experiment")]
#: An answer is worth this many times the CPU time that it took: a viewer costs a part of a percent.
_WORTH = 400
_LEAST_FRESH_S = 3.0
#: The header that says for how many seconds not to ask again.
FRESH = "HPO-Fresh-S"
#: What the pages' buttons do, and the right that each needs.
_DEEDS = {
    "stop": (Right.CHANGE_RUNS,),
    "stop_trial": (Right.CHANGE_TRIALS,),
    "add_point": (Right.CHANGE_RUNS,),
    "extend": (Right.CHANGE_RUNS, Right.CHANGE_TRIALS),
    "approve": (Right.APPROVE,),
    "submit": (Right.START_RUNS,),
}
_Number = Annotated[int, Field(ge=1, le=MOST)]
_COLUMNS = ["number", "state", "value"]
_MOST_COMPARED = 20


@router.get("/overview/experiments")
def overview_experiments(
    who: CallerDep,
    store: StoreDep,
    search: _Search = "",
    sort: _Sort = "-newest",
    offset: _Offset = 0,
    limit: _Limit = 50,
) -> overview_answers.ExperimentRows:
    """List experiments with their newest run, by `newest` or `experiment`."""
    key, descending = _sorted(sort)
    if key not in ("newest", "experiment"):
        raise SpecError(f"sort: must be newest or experiment, got {key[:80]!r}")
    sought = Sought(
        seen_dags(who, store), search, sort=key, descending=descending, offset=offset, limit=limit
    )
    return overview.experiments(store, _ROWS, sought)


@router.get("/overview/runs")
def overview_runs(
    who: CallerDep,
    store: StoreDep,
    search: _Search = "",
    experiment: _Text | None = None,
    team: _Text | None = None,
    status: Annotated[list[RunStatus], Query(max_length=10)] = [],  # noqa: B006 - as FastAPI has it
    sort: _Sort = "-id",
    offset: _Offset = 0,
    limit: _Limit = 50,
) -> overview_answers.RunRows:
    """List runs with what has become of them; a number searches for the run that has it."""
    key, descending = _sorted(sort)
    sought = Sought(
        seen_dags(who, store), search, experiment, team, status, key, descending, offset, limit
    )
    return overview.runs(store, _ROWS, sought)


@router.get("/overview/compare")
def compare_runs(
    who: CallerDep,
    store: StoreDep,
    run: Annotated[list[_Number], Query(min_length=1, max_length=_MOST_COMPARED)],
) -> overview_answers.Comparison:
    """Put runs side by side: how the best value went, and where their specs differ."""
    require(who, Right.SEE_RUNS)
    found = [store.run_by_id(number) for number in dict.fromkeys(run)]
    for one in found:
        require_of(who, Right.SEE_RUNS, one)
        require_of(who, Right.SEE_TRIALS, one)
    return overview.compare(store, _ROWS, found)


@router.get("/experiments/{experiment}/champions")
def list_champions(
    experiment: _Name, who: CallerDep, store: StoreDep
) -> overview_answers.Champions:
    """Give an experiment's models, the newest first, with verdicts, checks, and what became."""
    seen = seen_dags(who, store)
    require(who, Right.SEE_TRIALS)
    dags = [one for one in seen if who.may(Right.SEE_TRIALS, one)]
    return overview.champions(store, experiment, dags)


@router.get("/overview/task")
def find_task(
    who: CallerDep,
    store: StoreDep,
    dag_id: _Text,
    dag_run_id: _Text,
    task_id: _Text = "",
    map_index: Annotated[int, Query(ge=-1, le=MOST)] = -1,
) -> overview_answers.TasksTrials:
    """Find the run of a DAG run, and the trials that one of its task instances has run."""
    require(who, Right.SEE_RUNS)
    run = store.run(RunKey(dag_id, dag_run_id))
    require_of(who, Right.SEE_RUNS, run)
    numbers = trials_of_task(store, run, task_id, map_index) if task_id else []
    return overview_answers.TasksTrials(run=run.id, trials=numbers)


@router.get("/runs/{run_id}/summary", response_model=overview_answers.RunSummary)
def get_summary(request: Request, run: RunWithTrials, who: CallerDep, store: StoreDep) -> Response:
    """Give a run at a glance, while it runs and after; 304 if it is as the ETag says."""
    began, version = time.thread_time(), store.overview.version(run.id)
    may = {
        deed: all(who.may(one, run.key.dag_id) for one in needs) for deed, needs in _DEEDS.items()
    }
    tag = tag_of(version, sorted(may.items()))
    if is_known(request, tag):
        return unchanged(tag)
    found = overview.summary(store, run, version)
    found.may = may
    return tagged(found.model_dump_json(), tag, fresh_s(began))


@router.get("/runs/{run_id}/table", response_model=overview_answers.TrialTable)
def get_table(
    request: Request,
    run: RunWithTrials,
    store: StoreDep,
    columns: _Columns = _COLUMNS,
    sort: _Sort = "number",
    state: Annotated[list[TrialState], Query(max_length=10)] = [],  # noqa: B006 - as FastAPI has it
    where: _Where = [],  # noqa: B006
    offset: _Offset = 0,
    limit: _Limit = 50,
    final: bool = False,
) -> Response:
    """Give a page of a run's trials, or of its `final` ones: filtered and sorted by any column.

    Columns are those that every trial has, `params.NAME` and `metrics.NAME`.
    """
    began = time.thread_time()
    tag = tag_of(store.overview.version(run.id), request.url.query)
    if is_known(request, tag):
        return unchanged(tag)
    key, descending = _sorted(sort)
    asked = Asked(
        key, descending, state, [Condition.parse(one) for one in where], offset, limit, final
    )
    found = overview.table(store, run, asked, columns)
    return tagged(found.model_dump_json(), tag, fresh_s(began))


def _sorted(sort: str) -> tuple[str, bool]:
    return sort.removeprefix("-"), sort.startswith("-")


def tag_of(*facts: Any) -> str:
    """Give the ETag of an answer that depends on these facts and on this version."""
    said = repr((__version__, *facts))
    return f'W/"{hashlib.sha256(said.encode()).hexdigest()[:20]}"'


def is_known(request: Request, tag: str) -> bool:
    """Say whether the caller has the answer of this ETag already."""
    known = request.headers.get("if-none-match", "")
    return tag in [one.strip() for one in known.split(",")]


def fresh_s(began: float) -> float:
    """Say for how long not to ask again, by the CPU time since this thread's time was `began`."""
    return max(_LEAST_FRESH_S, _WORTH * (time.thread_time() - began))


def unchanged(tag: str, worth_s: float = _LEAST_FRESH_S) -> Response:
    """Answer that nothing has changed."""
    return Response(status_code=304, headers=_headers(tag, worth_s))


def tagged(text: str, tag: str, worth_s: float) -> Response:
    """Answer with an ETag."""
    return Response(text, media_type="application/json", headers=_headers(tag, worth_s))


def _headers(tag: str, worth_s: float) -> dict[str, str]:
    return {"ETag": tag, "Cache-Control": "no-cache, private", FRESH: f"{worth_s:.1f}"}
