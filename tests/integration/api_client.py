"""The REST API without Airflow: a fake one around it, and a fake auth manager before it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from hpo_airflow.api import PREFIX, Api
from hpo_airflow.api.app import application
from hpo_airflow.api.parts import the_store
from hpo_airflow.api.rights import Right, caller
from hpo_lib.store import Store, upgrade

#: Making them takes longer than what most tests do with them.
_application = cache(application)


@cache
def _prepared() -> Path:
    path = Path(mkdtemp()) / "hpo.db"
    upgrade(f"sqlite:///{path}")
    return path


def new_store(folder: Path) -> Store:
    """Open a fresh store in a folder."""
    shutil.copy(_prepared(), folder / "hpo.db")
    return Store.open(f"sqlite:///{folder}/hpo.db")


EVERYTHING = frozenset(Right)


@dataclass
class FakeCaller:
    """Somebody with these rights on these DAGs."""

    name: str = "ada"
    rights: Collection[Right] = EVERYTHING
    on: Collection[str] = ("hpo_local",)

    def may(self, right: Right, dag_id: str | None) -> bool:
        return right in self.rights and (dag_id is None or dag_id in self.on)

    def dags(self) -> Collection[str]:
        return self.on


@dataclass
class FakeAirflow:
    """Airflow's own API: answers by method and path, and what it was asked."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def __call__(self, request: Request) -> JSONResponse:
        body = await request.body()
        path = request.url.path.removeprefix("/api/v2")
        self.asked.append((request.method, path, await request.json() if body else None))
        found = self.answers.get((request.method, path), (404, {"detail": "not there"}))
        status, told = found if isinstance(found, tuple) else (200, found)
        return JSONResponse(told, status)


@dataclass
class ApiClient:
    """Asks the API as somebody; None is nobody."""

    store: Store
    airflow: FakeAirflow = field(default_factory=FakeAirflow)

    def __post_init__(self) -> None:
        """Mount the API as Airflow does."""
        self.who: FakeCaller | None = FakeCaller()
        self.opens: Callable[[], Store] = lambda: self.store
        mounted = Api()
        mounted._app = _application()
        self.app = FastAPI()
        self.app.mount(PREFIX, mounted)
        self.app.add_route(
            "/api/v2/{path:path}", self.airflow.__call__, ["GET", "POST", "PATCH", "PUT", "DELETE"]
        )

    def _caller(self) -> FakeCaller:
        if self.who is None:
            raise HTTPException(401, "Not authenticated")
        return self.who

    def take_over(self) -> FastAPI:
        """Have the application, which is one for all tests of a process, answer from here."""
        overrides = {caller: self._caller, the_store: self.opens}
        _application().dependency_overrides = overrides
        return self.app

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Send a request to the API, and give its answer."""
        self.take_over()

        async def answered() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
                return await client.request(method, PREFIX + path, **how)

        return asyncio.run(answered())

    def get(self, path: str, **query: Any) -> Any:
        """Read something that is there."""
        answer = self.ask("GET", path, params=query)
        assert answer.is_success, answer.text
        return answer.json()
