"""Routes to what trials have left, such as a model: a list, and one file after the other."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path
from fastapi.responses import Response, StreamingResponse

from hpo_airflow.api.parts import Limit, Number, RunWithTrials, StoreDep
from hpo_airflow.installation import this_installation
from hpo_lib.cli import answers, of_store
from hpo_lib.records import Run
from hpo_lib.runs.trial_files import Left, left_by
from hpo_lib.store import Store

router = APIRouter(tags=["read"])
_Name = Annotated[str, Path(max_length=4096, description="the name of a file, as in the list")]
#: A trial may leave a page: no browser is to show it among Airflow's own.
_APART = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    }
}


@router.get("/runs/{run_id}/trials/{number}/files")
def list_files(
    run: RunWithTrials, number: Number, store: StoreDep, after: str = "", limit: Limit = 1000
) -> answers.Files:
    """List what a trial has left in its output folder, by name, a page at a time."""
    return of_store.files(_left(store, run, number), after, limit)


@router.get(
    "/runs/{run_id}/trials/{number}/files/{name:path}", response_class=Response, responses=_BYTES
)
def get_file(run: RunWithTrials, number: Number, name: _Name, store: StoreDep) -> StreamingResponse:
    """Give one of these files."""
    size, pieces = _left(store, run, number).read(name)
    last = quote(name.rpartition("/")[2])
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{last}",
    }
    return StreamingResponse(pieces, 200, headers | _APART, "application/octet-stream")


def _left(store: Store, run: Run, number: int) -> Left:
    return left_by(store, run, number, this_installation(run.team).artifacts)
