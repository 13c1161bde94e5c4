"""The application of the REST API: its routes, its document, and how errors become answers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from hpo_airflow.api import acting, charting, files, reading, showing
from hpo_airflow.api.rights import CallerDep
from hpo_lib import __version__
from hpo_lib.cli.answers import Problem
from hpo_lib.errors import (
    AlreadyFinished,
    HpoError,
    NotFound,
    SpecError,
    StoreError,
    TransientError,
)

_ABOUT = """\
Runs of hyperparameter tuning: submit, list, watch, stop and extend them. Log in as for Airflow's
own API: `POST /auth/token` gives the token for the header `Authorization: Bearer …`. What somebody
may do is what Airflow lets them do to the DAG of a run. Errors have a `detail`, in words.
"""
#: The status that tells a caller what to do about an error; of several classes the first counts.
_STATUS: tuple[tuple[type[HpoError], int], ...] = (
    (SpecError, 422),
    (NotFound, 404),
    (AlreadyFinished, 409),
    (TransientError, 503),
    (StoreError, 503),
)
_WORDS = {
    400: "the body cannot be read at all, for example because it is not UTF-8",
    401: "nobody is logged in, or the token has expired",
    403: "the caller lacks a right, which is named",
    404: "there is no such thing",
    409: "the state of the run does not allow it",
    422: "something is to be corrected",
    503: "Airflow or the store does not answer: ask again",
}


def application() -> FastAPI:
    """Build the application; its document is for those who are logged in, as all else."""
    app = FastAPI(
        title="Hyperparameter tuning on Airflow",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses={
            status: {"model": Problem, "description": why} for status, why in _WORDS.items()
        },
    )
    app.include_router(reading.router)
    app.include_router(files.router)
    app.include_router(showing.router)
    app.include_router(charting.router)
    app.include_router(acting.router)

    @app.get("/openapi.json", include_in_schema=False)
    def document(request: Request, _: CallerDep) -> JSONResponse:
        """Give the OpenAPI document, with the address at which this application is mounted."""
        server = {"url": request.scope.get("root_path") or "/"}
        return JSONResponse({**app.openapi(), "servers": [server]})

    app.add_exception_handler(HpoError, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    return app


def _refused(_: Request, error: Exception) -> JSONResponse:
    """Answer with an error of ours; one that the caller can do nothing about is a failure."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    lines = str(error).split("\n") if isinstance(error, SpecError) else []
    headers = {"Retry-After": "5"} if status == 503 else {}
    body = Problem(detail=str(error), problems=lines).model_dump()
    return JSONResponse(body, status, headers)


def _misread(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that is not as the document says."""
    found: list[Any] = list(error.errors()) if isinstance(error, RequestValidationError) else []
    lines = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found]
    body = Problem(detail="\n".join(lines), problems=lines).model_dump()
    return JSONResponse(body, 422)
