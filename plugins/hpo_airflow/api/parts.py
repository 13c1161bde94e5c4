"""What the routes share: the store, runs by number, and the bounds of what may be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Path, Query

from hpo_airflow.api.rights import Caller, CallerDep, Right, require, require_of
from hpo_airflow.installation import open_store
from hpo_lib.records import Run
from hpo_lib.store import Store

#: The largest number that the store's databases have for a run or a trial.
MOST = 2**31 - 1


def the_store() -> Iterator[Store]:
    """Open the store for a request."""
    with open_store() as store:
        yield store


StoreDep = Annotated[Store, Depends(the_store)]
RunId = Annotated[int, Path(ge=1, le=MOST, description="the number of a run")]
Number = Annotated[int, Path(ge=0, le=MOST, description="the number of a trial")]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
After = Annotated[int, Query(ge=-1, le=MOST, description="the `next` of the page before")]
Attempt = Annotated[
    int | None, Query(ge=1, le=MOST, description="the number of an attempt of the trial")
]


def seen_dags(who: Caller, store: Store) -> list[str]:
    """Name the DAGs with runs that somebody may see; 403 to whoever may see none at all."""
    require(who, Right.SEE_RUNS)
    known = store.listing.dag_ids()
    return sorted(set(who.dags()).intersection(known))


def run_with(*rights: Right) -> Any:
    """Give the run of the path to somebody who may see it, and has these rights."""

    def found(run_id: RunId, who: CallerDep, store: StoreDep) -> Run:
        require(who, Right.SEE_RUNS)
        run = store.run_by_id(run_id)
        for right in rights:
            require_of(who, right, run)
        return run

    return Depends(found)


RunToSee = Annotated[Run, run_with(Right.SEE_RUNS)]
RunWithTrials = Annotated[Run, run_with(Right.SEE_TRIALS)]
RunWithLogs = Annotated[Run, run_with(Right.READ_LOGS)]
RunToChange = Annotated[Run, run_with(Right.CHANGE_RUNS)]
RunWithTrialsToStop = Annotated[Run, run_with(Right.CHANGE_TRIALS)]
RunToApprove = Annotated[Run, run_with(Right.APPROVE)]
RunToExtend = Annotated[Run, run_with(Right.CHANGE_RUNS, Right.CHANGE_TRIALS)]
