"""Airflow's REST API: what a client does where Airflow cannot. The Airflow is a fake."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from hpo_lib.cli import airflow_api
from hpo_lib.cli.airflow_api import Airflow
from hpo_lib.errors import NotFound, TransientError


class FakeAirflow(httpx.MockTransport):
    """Fails the first requests to start a run: before it has written the run down, or after."""

    def __init__(self, *, fails: int, writes: bool) -> None:
        super().__init__(self.answer)
        self.fails, self.writes, self.asked = fails, writes, 0
        self.runs: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "x"})
        if request.method == "GET":
            known = [run for run in self.runs if request.url.path.endswith(quote(run, safe=":+"))]
            return httpx.Response(200 if known else 404, json={"state": "queued"})
        self.asked += 1
        failed = self.asked <= self.fails
        if self.writes or not failed:
            self.runs.append(json.loads(request.content)["dag_run_id"])
        return httpx.Response(500 if failed else 200, json={"dag_run_id": self.runs[-1:]})


def client(monkeypatch: pytest.MonkeyPatch, fake: FakeAirflow) -> Airflow:
    monkeypatch.setattr(airflow_api, "_PAUSE_S", 0.0)
    airflow = Airflow("http://airflow", "ada", "sekret")
    airflow._client = httpx.Client(transport=fake)
    return airflow


@pytest.mark.parametrize(("fails", "writes"), [(0, False), (1, False), (4, False), (1, True)])
def test_a_run_is_started_once_however_often_airflow_is_asked(
    monkeypatch: pytest.MonkeyPatch, fails: int, writes: bool
) -> None:
    fake = FakeAirflow(fails=fails, writes=writes)
    assert [client(monkeypatch, fake).trigger("hpo_local", {})] == fake.runs


def test_an_airflow_that_never_can_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeAirflow(fails=99, writes=False)
    with pytest.raises(TransientError, match="POST /dags/hpo_local/dagRuns: 500"):
        client(monkeypatch, fake).trigger("hpo_local", {})
    assert fake.runs == []


def test_a_file_comes_in_pieces_also_after_the_token_has_expired() -> None:
    tokens = iter("ab")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": next(tokens)})
        known = request.headers["authorization"] == "Bearer b"
        return httpx.Response(200 if known else 401, content=b"x" * 100_000 if known else b"")

    airflow = Airflow("http://airflow", "ada", "sekret")
    airflow._client = httpx.Client(transport=httpx.MockTransport(answer))
    assert b"".join(airflow.download("/file")) == b"x" * 100_000


def test_why_there_is_no_file_is_told() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"detail": "trial 1 has left no file a"})

    airflow = Airflow("http://airflow", "", "", token="x")
    airflow._client = httpx.Client(transport=httpx.MockTransport(answer))
    with pytest.raises(NotFound, match="trial 1 has left no file a"):
        list(airflow.download("/file"))
