"""Airflow's own API, asked from inside the API server, by the right of whoever asks ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import HTTPException, Request

from hpo_airflow.api import AIRFLOW
from hpo_lib.errors import AlreadyFinished, NotFound, SpecError, TransientError
from hpo_lib.records import RunKey

_TIMEOUT_S = 60.0
_BASE = "http://airflow"
#: The headers by which Airflow knows who asks.
_WHO = ("authorization", "cookie")


class Airflow:
    """Calls the application that has mounted ours, with the caller's token or cookie."""

    def __init__(self, request: Request) -> None:
        """Take the request that is being answered."""
        self._app = request.scope[AIRFLOW]
        self._headers = {name: request.headers[name] for name in _WHO if name in request.headers}

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call Airflow's API, and give its answer; what it refuses is refused in its words."""
        import httpx

        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url=_BASE, timeout=_TIMEOUT_S
        ) as client:
            answer = await client.request(
                method, f"/api/v2{path}", json=body, params=query, headers=self._headers
            )
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(method, path, answer.status_code, answer.text)


def path_of(key: RunKey) -> str:
    """Give the path of a DAG run, whatever its name holds."""
    return f"/dags/{quote(key.dag_id, safe='')}/dagRuns/{quote(key.dag_run_id, safe='')}"


def _refusal(method: str, path: str, status: int, text: str) -> Exception:
    said = f"Airflow answers {status} to {method} {path}: {text[:500]}"
    if status in (401, 403):
        return HTTPException(status, said)
    kinds = {404: NotFound, 409: AlreadyFinished, 400: SpecError, 422: SpecError}
    return kinds.get(status, TransientError)(said)
