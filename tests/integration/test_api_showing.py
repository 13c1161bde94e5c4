"""The routes that pages ask: runs at a glance, trials as a table, and what has not changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_airflow.api import charting
from hpo_airflow.api.rights import Right
from hpo_lib.cli import drawn
from hpo_lib.core.trial import Observation
from hpo_lib.records import Looked, Run, RunKey, RunStatus
from hpo_lib.store import Store
from hpo_lib.store.models import challenge
from tests.integration.api_client import ApiClient, FakeCaller, new_store
from tests.integration.test_api import begun, done, wave


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiClient]:
    with new_store(tmp_path) as store:
        yield ApiClient(store)


@pytest.fixture
def run(api: ApiClient) -> Run:
    """A run of two trials, of which one is complete and one runs."""
    run = begun(api.store)
    assert wave(api.store, run, 1) == [1, 2]
    done(api.store, run, 1, 0.5, odd=float("nan"))
    api.store.open_attempt(run.id, 2, lambda _: {})
    return run


def asked(api: ApiClient, path: str, tag: str = "") -> tuple[int, str]:
    answer = api.ask("GET", path, headers={"If-None-Match": tag} if tag else {})
    assert float(answer.headers["HPO-Fresh-S"]) >= 3
    return answer.status_code, answer.headers["ETag"]


@pytest.mark.parametrize("path", ["/runs/1/summary", "/runs/1/table", "/runs/1/charts"])
def test_what_has_not_changed_is_not_sent_again(api: ApiClient, run: Run, path: str) -> None:
    status, tag = asked(api, path)
    assert (status, asked(api, path, tag)) == (200, (304, tag))
    assert asked(api, path, f'"other", {tag}')[0] == 304
    if path.endswith("charts"):  # the one before is worth what it cost
        return
    attempt = api.store.attempts(run.id, 2)[0]
    api.store.live.keep(attempt.id, [Observation("loss", 0.1, 1)])
    status, newer = asked(api, path, tag)
    assert (status, newer != tag) == (200, True)


def test_a_run_is_told_at_a_glance(api: ApiClient, run: Run) -> None:
    found = api.get("/runs/1/summary")
    assert (found["best"], found["best_trial"], found["done"], found["max_trials"]) == (
        0.5,
        1,
        1,
        4,
    )
    assert found["objectives"] == [{"metric": "loss", "direction": "minimize", "target": None}]
    assert (found["params"], found["metrics"]) == (["x"], ["loss", "odd"])
    assert found["leading"][0]["metrics"] == {"loss": 0.5, "odd": None}
    assert (found["expected_end"] is not None, found["stopping"]) == (True, None)
    assert [one["deed"] for one in found["audit"]] == ["submitted"]
    assert set(found["may"].values()) == {True}
    api.ask("POST", "/runs/1/stop")
    assert api.get("/runs/1/summary")["stopping"] == "stopped by ada"


def test_what_the_caller_may_do_is_told_and_is_part_of_the_etag(api: ApiClient, run: Run) -> None:
    _, tag = asked(api, "/runs/1/summary")
    api.who = FakeCaller("vera", rights=(Right.SEE_RUNS, Right.SEE_TRIALS))
    status, _ = asked(api, "/runs/1/summary", tag)
    assert status == 200
    assert set(api.get("/runs/1/summary")["may"].values()) == {False}


def test_a_run_that_was_refused_is_shown(api: ApiClient) -> None:
    key = RunKey("hpo_local", "manual__1")
    api.store.refuse_run(key, "name: is missing\nspace: is missing", triggered_by="ada")
    found = api.get("/runs/1/summary")
    assert (found["status"], found["experiment"], found["params"]) == ("refused", "", [])
    assert api.get("/runs/1/table")["rows"] == []
    assert [one["id"] for one in api.get("/overview/runs")["runs"]] == [1]


def test_trials_come_with_the_columns_that_are_asked_for(api: ApiClient, run: Run) -> None:
    x = api.store.trial(run.id, 1).params["x"]
    columns = ["number", "state", "params.x", "metrics.odd", "metrics.loss", "attempts"]
    found = api.get("/runs/1/table", columns=columns, sort="-number")
    assert found["columns"] == columns
    assert found["rows"][1] == [1, "complete", x, None, 0.5, 1]
    assert (found["rows"][0][:2], found["total"]) == ([2, "running"], 2)
    found = api.get("/runs/1/table", where=["value<1"], state=["complete", "failed"])
    assert (found["rows"], found["total"]) == ([[1, "complete", 0.5]], 1)
    attempt = api.store.attempts(run.id, 2)[0]
    api.store.live.keep(attempt.id, [Observation("loss", 0.125, 1)])
    found = api.get("/runs/1/table", columns=["metrics.loss"], state="running")
    assert found["rows"] == [[0.125]], "of a trial that runs, what it has shown last"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"sort": "nope"}, "unknown column 'nope'"),
        ({"columns": "nope"}, "columns: unknown column 'nope'"),
        ({"where": "x"}, "where: must be a column, one of"),
        ({"limit": 501}, "query.limit"),
    ],
)
def test_what_is_wrong_is_named(api: ApiClient, run: Run, query: Any, said: str) -> None:
    answer = api.ask("GET", "/runs/1/table", params=query)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_runs_and_experiments_are_listed_for_whoever_sees_their_dags(
    api: ApiClient, run: Run
) -> None:
    begun(api.store, "hpo_vision.local", team="vision")
    found = api.get("/overview/runs")
    assert ([one["id"] for one in found["runs"]], found["total"]) == ([1], 1)
    assert [one["name"] for one in api.get("/overview/experiments")["experiments"]] == ["iris"]
    api.who = FakeCaller(on=("hpo_local", "hpo_vision.local"))
    assert api.get("/overview/runs", sort="experiment")["total"] == 2
    names = [
        one["name"] for one in api.get("/overview/experiments", sort="experiment")["experiments"]
    ]
    assert names == ["iris", "vision.iris"]
    assert api.get("/overview/runs", team="vision")["runs"][0]["id"] == 2
    api.who = FakeCaller()
    assert api.ask("GET", "/overview/compare", params={"run": [1, 2]}).status_code == 403


def test_the_trials_of_a_task_are_found(api: ApiClient, run: Run) -> None:
    here = {"dag_id": "hpo_local", "dag_run_id": "manual__1"}

    def found(**task: Any) -> list[int]:
        answer = api.get("/overview/task", **here, **task)
        assert answer["run"] == run.id
        return list(answer["trials"])

    assert found() == found(task_id="report") == found(task_id="wave_01.trial", map_index=7) == []
    assert found(task_id="wave_01.trial", map_index=1) == [2]
    assert found(task_id="slot", map_index=0) == []
    api.store.slots.claim(run.id, "slot-001", "wave-01")
    assert found(task_id="slot", map_index=0) == [2]
    here["dag_run_id"] = "nope"
    assert api.ask("GET", "/overview/task", params=here).status_code == 404


def test_champions_are_told_as_far_as_one_may_see_their_runs(api: ApiClient, run: Run) -> None:
    assert api.get("/experiments/iris/champions")["models"] == []
    challenged(api.store, run)
    found = api.get("/experiments/iris/champions")
    (model,) = found["models"]
    assert (model["version"], model["status"], model["awaits_approval"]) == (1, "challenger", False)
    assert [one["status"] for one in found["events"]] == ["challenger"]
    api.store.models.promote(api.store.models.get("iris", 1), "better")
    assert api.get("/experiments/iris/champions")["champion"] == 1
    assert api.get("/overview/experiments")["experiments"][0]["champion"] == 1
    other = begun(api.store, "hpo_vision.local")
    api.who = FakeCaller(on=("hpo_vision.local",))
    assert other.experiment == "iris"
    assert api.ask("GET", "/experiments/iris/champions").status_code == 404
    api.who = FakeCaller(rights=(Right.SEE_RUNS,))
    assert api.ask("GET", "/experiments/iris/champions").status_code == 403


def test_runs_are_compared(api: ApiClient, run: Run) -> None:
    done(api.store, run, 2, 0.25)
    api.store.finish_run(run.id, RunStatus.COMPLETE, "done")
    found = api.get("/overview/compare", run=[1])
    (one,) = found["runs"]
    assert (one["trials"], one["best"], found["differences"]) == ([1, 2], [0.5, 0.25], [])
    assert one["leading"]["number"] == 2


def challenged(store: Store, run: Run) -> None:
    with store._database.write() as connection:
        challenge(connection, "iris", run.id, 1, {"x": 0.5}, run.started_at)


def test_charts_of_many_trials_are_made_apart_as_they_are_here(
    api: ApiClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = api.ask("GET", f"/runs/{run.id}/charts").json()
    done(api.store, run, 2, 0.25)
    monkeypatch.setattr(charting, "_MANY", 1)
    monkeypatch.setattr(charting, "_CHARTS", charting.Documents(charting._charts))
    apart = api.ask("GET", f"/runs/{run.id}/charts")
    assert float(apart.headers["HPO-Fresh-S"]) > 20, "a process takes a moment to begin"
    assert apart.json().keys() == here.keys()
    assert apart.json() == json.loads(drawn.charts(api.store, run.id))


def test_what_cannot_be_made_apart_is_asked_for_again(
    api: ApiClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn.sys, "executable", "false")
    answer = api.ask("GET", f"/runs/{run.id}/advice")
    assert answer.status_code == 503
    assert f"the advice of run {run.id} cannot be made now" in answer.json()["detail"]


def test_of_trials_that_are_not_chosen_a_view_has_the_ends_of_a_metric(
    api: ApiClient, run: Run
) -> None:
    found = api.store.view(run.id, lambda _: Looked((), "loss"))
    whole = api.store.view(run.id)
    steps = [one.step for one in whole.trials[0].observations if one.metric == "loss"]
    assert [one.step for one in found.trials[0].observations] == [steps[0], steps[-1]]
    bare = api.store.view(run.id, lambda _: Looked())
    assert [list(one.observations) for one in bare.trials] == [[], []]
