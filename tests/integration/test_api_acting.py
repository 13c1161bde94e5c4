"""The REST API's routes that change something, over a real store and a fake Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_airflow.api.rights import Right
from hpo_lib.core.trial import TrialState
from hpo_lib.records import Run, RunKey, RunStatus
from hpo_lib.records.audit import Deed
from hpo_lib.store.models import challenge
from tests.integration.api_client import ApiClient, FakeCaller, new_store
from tests.integration.test_api import SPEC, begun, done, wave

KEY = RunKey("hpo_local", "manual__1")
AIRFLOWS = "/dags/hpo_local/dagRuns/manual__1"
_TASKS = [{"task_id": name} for n in range(1, 41) for name in (f"wave_{n:02d}.suggest", "report")]
_GOES_ON = {
    ("GET", AIRFLOWS): {"state": "success"},
    ("GET", "/dags/hpo_local/tasks"): {"tasks": _TASKS},
    ("GET", f"{AIRFLOWS}/taskInstances/wave_02.suggest"): {"state": "success"},
    ("POST", "/dags/hpo_local/clearTaskInstances"): {"task_instances": []},
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiClient]:
    monkeypatch.setenv("HPO_HOME", str(tmp_path))
    with new_store(tmp_path) as store:
        yield ApiClient(store)


@pytest.fixture
def run(api: ApiClient) -> Run:
    """A run of two trials, of which one is complete and one runs."""
    run = begun(api.store)
    assert wave(api.store, run, 1) == [1, 2]
    done(api.store, run, 1, 0.5)
    api.store.open_attempt(run.id, 2, lambda _: {})
    return run


def ended(api: ApiClient, run: Run) -> None:
    """Let a run have ended after its first wave."""
    done(api.store, run, 2, 0.25)
    api.store.finish_run(run.id, RunStatus.COMPLETE, "max trials reached: 2 of 2")


def test_a_conf_is_submitted_to_the_dag_of_its_backend(api: ApiClient) -> None:
    api.airflow.answers = {("POST", "/dags/hpo_local/dagRuns"): {"state": "queued"}}
    answer = api.ask("POST", "/runs", json=SPEC, params={"dag_run_id": "mine"})
    assert answer.status_code == 202
    told = {"dag_id": "hpo_local", "dag_run_id": "mine", "state": "queued"}
    assert answer.json() == told
    ((_, path, body),) = api.airflow.asked
    assert path == "/dags/hpo_local/dagRuns"
    assert body == {"logical_date": None, "conf": SPEC, "dag_run_id": "mine"}


def test_a_team_that_there_is_none_of_is_named_beside_those_that_one_may_run_for(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(team: str) -> tuple[int, str]:
        answer = api.ask("POST", "/runs", json=SPEC, params={"team": team})
        return answer.status_code, answer.json().get("detail", "")

    assert told("nope") == (404, "there is no team nope; known: none")
    (tmp_path / "deployment.yaml").write_text("teams: {vision: {}, nlp: {}}")
    monkeypatch.setenv("HPO_CONFIG", str(tmp_path / "deployment.yaml"))
    api.who = FakeCaller("vera", on=("hpo_vision.local",))
    api.airflow.answers = {("POST", "/dags/hpo_vision.local/dagRuns"): {"state": "queued"}}
    assert told("nope") == (404, "there is no team nope; known: vision")
    assert told("nlp")[0] == 403
    assert told("vision") == (202, "")


def test_whoever_submits_again_by_the_same_name_gets_the_same_run(api: ApiClient) -> None:
    api.airflow.answers = {
        ("POST", "/dags/hpo_local/dagRuns"): (409, {"detail": "it exists"}),
        ("GET", "/dags/hpo_local/dagRuns/mine"): {"state": "running"},
    }
    answer = api.ask("POST", "/runs", json=SPEC, params={"dag_run_id": "mine"})
    assert (answer.status_code, answer.json()["state"]) == (202, "running")


def test_a_wrong_conf_is_refused_with_every_problem_and_starts_nothing(api: ApiClient) -> None:
    wrong = SPEC | {"space": {"x": {"type": "float", "low": 2, "high": 1}}, "nmae": "iris"}
    answer = api.ask("POST", "/runs", json=wrong)
    assert answer.status_code == 422
    problems = "\n".join(answer.json()["problems"])
    assert "space.x: low must be < high" in problems
    assert "nmae" in problems
    assert api.airflow.asked == []


@pytest.mark.parametrize("body", ["[]", "{", "3", '{"name": NaN}', '"' + "x" * 10_000 + '"', "{}"])
def test_what_is_no_conf_is_refused(api: ApiClient, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert api.ask("POST", "/runs", content=body, headers=headers).status_code == 422


@pytest.mark.parametrize("name", ["a b", "a/b", "../x", "x" * 251, ""])
def test_a_name_that_is_none_is_refused(api: ApiClient, name: str) -> None:
    assert api.ask("POST", "/runs", json=SPEC, params={"dag_run_id": name}).status_code == 422


def test_a_stopped_run_is_stopped_by_whom_airflow_knows(api: ApiClient, run: Run) -> None:
    answer = api.ask("POST", "/runs/1/stop")
    assert answer.json() == {
        "run": 1,
        "trial": None,
        "state": "running",
        "reason": "stopped by ada",
    }
    assert api.ask("POST", "/runs/1/stop").json() == answer.json()
    (entry,) = [one for one in api.store.audit.entries() if one.deed is Deed.STOPPED]
    assert (entry.who, entry.where, entry.run) == ("ada", "api", 1)
    assert api.store.told_to_stop(run.id, 2) == "stopped by ada"


def test_a_trial_is_stopped(api: ApiClient, run: Run) -> None:
    answer = api.ask("POST", "/runs/1/trials/2/stop").json()
    assert (answer["state"], answer["reason"]) == ("running", "stopped by ada")
    api.store.stop_trial(run.id, 2, "stopped by ada")
    assert api.ask("POST", "/runs/1/trials/2/stop").json()["state"] == TrialState.STOPPED
    assert api.ask("POST", "/runs/1/trials/1/stop").json()["state"] == TrialState.COMPLETE
    assert api.ask("POST", "/runs/1/trials/9/stop").status_code == 404


def test_a_cancelled_runs_dag_run_is_marked_as_failed(api: ApiClient, run: Run) -> None:
    api.airflow.answers = {
        ("GET", AIRFLOWS): {"state": "running"},
        ("PATCH", AIRFLOWS): {"state": "failed"},
    }
    answer = api.ask("POST", "/runs/1/cancel").json()
    assert (answer["state"], answer["reason"]) == ("failed", "cancelled by ada")
    assert api.airflow.asked[-1] == ("PATCH", AIRFLOWS, {"state": "failed"})
    api.airflow.answers[("GET", AIRFLOWS)], api.airflow.asked = {"state": "failed"}, []
    assert api.ask("POST", "/runs/1/cancel").status_code == 200
    assert [method for method, *_ in api.airflow.asked] == ["GET"]


def test_a_cancel_that_airflow_did_not_hear_is_told_again(api: ApiClient, run: Run) -> None:
    assert api.ask("POST", "/runs/1/cancel").status_code == 404
    api.airflow.answers = {
        ("GET", AIRFLOWS): {"state": "running"},
        ("PATCH", AIRFLOWS): {"state": "failed"},
    }
    assert api.ask("POST", "/runs/1/cancel").status_code == 200
    deeds = [one.deed for one in api.store.audit.entries()]
    assert deeds == [Deed.SUBMITTED, Deed.STOPPED]


def test_a_point_is_added(api: ApiClient, run: Run) -> None:
    body = {"params": {"x": 0.75}}
    assert api.ask("POST", "/runs/1/points", json=body).status_code == 200
    assert api.get("/runs/1/spec")["initial_points"] == [{"x": 0.75}]
    answer = api.ask("POST", "/runs/1/points", json={"params": {"x": 7}})
    assert (answer.status_code, answer.json()["problems"]) == (
        422,
        ["params: x: must be within [0.0, 1.0], got 7.0"],
    )


def test_a_run_that_has_ended_goes_on_from_its_next_wave(api: ApiClient, run: Run) -> None:
    ended(api, run)
    api.airflow.answers = _GOES_ON
    answer = api.ask("POST", "/runs/1/extend", json={"max_trials": 8})
    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    *_, (method, path, body) = api.airflow.asked
    assert (method, path) == ("POST", "/dags/hpo_local/clearTaskInstances")
    assert body["task_ids"] == ["wave_02.suggest"]
    assert (body["dag_run_id"], body["include_downstream"]) == ("manual__1", True)


def test_a_run_in_slots_that_has_ended_goes_on_from_its_slots(api: ApiClient, run: Run) -> None:
    ended(api, run)
    tasks = {"tasks": [{"task_id": name} for name in ("validate", "slots", "slot", "report")]}
    api.airflow.answers = _GOES_ON | {
        ("GET", "/dags/hpo_local/tasks"): tasks,
        ("GET", f"{AIRFLOWS}/taskInstances/slots"): {"state": "success"},
    }
    assert api.ask("POST", "/runs/1/extend", json={"max_trials": 90}).status_code == 200
    assert api.airflow.asked[-1][2]["task_ids"] == ["slots"]


def test_an_extension_that_was_cut_off_is_finished_when_it_is_asked_for_again(
    api: ApiClient, run: Run
) -> None:
    ended(api, run)
    cut = ("POST", "/dags/hpo_local/clearTaskInstances")
    api.airflow.answers = {name: one for name, one in _GOES_ON.items() if name != cut}
    assert api.ask("POST", "/runs/1/extend", json={"max_trials": 8}).status_code == 404
    api.airflow.answers, api.airflow.asked = _GOES_ON, []
    assert api.ask("POST", "/runs/1/extend", json={"max_trials": 8}).status_code == 200
    assert api.airflow.asked[-1][:2] == cut
    deeds = [one.deed for one in api.store.audit.entries()]
    assert deeds == [Deed.SUBMITTED, Deed.EXTENDED]


def test_a_run_under_way_is_not_begun_again(api: ApiClient, run: Run) -> None:
    waits = {("GET", f"{AIRFLOWS}/taskInstances/wave_02.suggest"): {"state": None}}
    api.airflow.answers = _GOES_ON | waits
    assert api.ask("POST", "/runs/1/extend", json={"max_trials": 8}).status_code == 200
    assert "POST" not in {method for method, *_ in api.airflow.asked}


def test_a_run_whose_dag_run_is_gone_does_not_go_on(api: ApiClient, run: Run) -> None:
    ended(api, run)
    assert api.ask("POST", "/runs/1/extend", json={"max_trials": 8}).status_code == 404
    assert api.store.run(KEY).status is RunStatus.COMPLETE


def test_what_the_state_of_a_run_does_not_allow_is_a_conflict(api: ApiClient, run: Run) -> None:
    ended(api, run)
    answer = api.ask("POST", "/runs/1/points", json={"params": {"x": 0.75}})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "run 1 is complete: max trials reached: 2 of 2",
    )


ACTS: list[tuple[str, Any, Right]] = [
    ("/runs", SPEC, Right.START_RUNS),
    ("/runs/1/stop", None, Right.CHANGE_RUNS),
    ("/runs/1/cancel", None, Right.CHANGE_RUNS),
    ("/runs/1/trials/2/stop", None, Right.CHANGE_TRIALS),
    ("/runs/1/points", {"params": {"x": 0.75}}, Right.CHANGE_RUNS),
    ("/runs/1/extend", {"max_trials": 8}, Right.CHANGE_RUNS),
    ("/runs/1/approval", {"approve": True}, Right.APPROVE),
]


@pytest.mark.parametrize(("path", "body", "right"), ACTS)
def test_who_only_sees_may_change_nothing_and_is_told_what_is_missing(
    api: ApiClient, run: Run, path: str, body: Any, right: Right
) -> None:
    api.who = FakeCaller("vera", rights=(Right.SEE_RUNS, Right.SEE_TRIALS, Right.READ_LOGS))
    before = api.store.view(run.id)
    answer = api.ask("POST", path, json=body)
    told = (answer.status_code, answer.json()["detail"])
    assert told == (403, f"vera lacks Airflow's right {right} of DAG hpo_local")
    assert (api.store.view(run.id), api.airflow.asked) == (before, [])


#: What browsers say of a request that a page of another site has sent, by a form or a script.
ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
]


def test_a_page_of_another_site_changes_nothing(api: ApiClient, run: Run) -> None:
    before = api.store.view(run.id)
    for path, body, _ in ACTS:
        for headers in ELSEWHERE:
            answer = api.ask("POST", path, json=body, headers=headers)
            assert (answer.status_code, "another site" in answer.text) == (403, True), path
    assert (api.store.view(run.id), api.airflow.asked) == (before, [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://airflow"},
        {"Origin": "http://airflow"},
        {"Origin": "https://outside.example", "X-Forwarded-Host": "outside.example"},
        {"Origin": "https://elsewhere.example", "Authorization": "Bearer token"},
    ],
)
def test_a_page_of_ones_own_and_whoever_has_a_token_may_change_something(
    api: ApiClient, run: Run, headers: dict[str, str]
) -> None:
    assert api.ask("POST", "/runs/1/stop", headers=headers).status_code == 200


def test_a_challenger_is_approved_by_whom_airflow_lets_answer(api: ApiClient, run: Run) -> None:
    said = {"json": {"approve": True}}
    assert api.ask("POST", "/runs/1/approval", **said).status_code == 409, "there is none"
    with api.store._database.write() as connection:
        challenge(connection, "iris", run.id, 1, {"x": 0.5}, run.started_at)
    answer = api.ask("POST", "/runs/1/approval", **said)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "run 1 does not ask for approval now",
    )
    path = f"{AIRFLOWS}/taskInstances/approve/-1/hitlDetails"
    api.airflow.answers = {("PATCH", path): {}}
    for approve, word, option in ((True, "approved", "Approve"), (False, "rejected", "Reject")):
        answer = api.ask("POST", "/runs/1/approval", json={"approve": approve})
        assert (answer.status_code, answer.json()["state"]) == (200, word)
        body = {"chosen_options": [option], "params_input": {}}
        assert api.airflow.asked[-1] == ("PATCH", path, body)
    api.store.models.reject(api.store.models.get("iris", 1), "too slow")
    answer = api.ask("POST", "/runs/1/approval", **said)
    assert answer.json()["detail"] == "version 1 is rejected: too slow"


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, body, _ in ACTS])
def test_whom_airflow_does_not_know_changes_nothing(
    api: ApiClient, run: Run, path: str, body: Any
) -> None:
    api.who, before = None, api.store.view(run.id)
    assert api.ask("POST", path, json=body).status_code == 401
    assert (api.store.view(run.id), api.airflow.asked) == (before, [])


def test_every_route_that_changes_something_is_tried(api: ApiClient) -> None:
    paths = api.get("/openapi.json")["paths"]
    changing = {path for path, methods in paths.items() if set(methods) - {"get", "parameters"}}
    tried = {path.replace("/runs/1", "/runs/{run_id}") for path, *_ in ACTS}
    assert changing == {path.replace("trials/2", "trials/{number}") for path in tried}
