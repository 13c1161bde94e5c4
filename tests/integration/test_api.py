"""The REST API over a real store: what it reads, who may read it, and how it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_airflow.api.rights import Right
from hpo_lib.core.trial import Decision, Observation, TrialState
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey, RunStatus
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store
from tests.integration.api_client import ApiClient, FakeCaller, new_store

SPEC: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random", "seed": 3},
    "limits": {"max_trials": 4, "parallel_trials": 2},
    "trial": {"command": ["true"]},
}
MOST = 2**31 - 1


def begun(store: Store, dag_id: str = "hpo_local", team: str = "", **changes: Any) -> Run:
    """Start a run."""
    key, spec = RunKey(dag_id, "manual__1"), load(SPEC | changes)
    return store.start_run(key, spec, triggered_by="ada", provenance=Provenance(), team=team)


def wave(store: Store, run: Run, number: int) -> list[int]:
    """Ask for a wave's trials."""
    spec: Spec = run.spec
    slot = f"wave-{number:02d}"
    batch = store.next_batch(run.id, slot, lambda history: engine.step(spec, history, 2))
    return [one.trial for one in batch.assignments]


def done(store: Store, run: Run, number: int, value: float, **metrics: float) -> None:
    """Let a trial end well."""
    attempt = store.open_attempt(run.id, number, lambda _: {})
    seen = [Observation("loss", value + 1, 1, 10.0), Observation("loss", value, 2, 11.0)]
    seen += [Observation(name, found) for name, found in metrics.items()]
    found = Outcome(
        AttemptState.SUCCEEDED,
        "done",
        value=value,
        metrics={"loss": value} | metrics,
        observations=seen,
    )
    store.close_attempt(attempt.id, found, final=True)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """One run of two trials of which one is the best, and a run of another DAG."""
    with new_store(tmp_path_factory.mktemp("store")) as store:
        run = begun(store)
        assert wave(store, run, 1) == [1, 2]
        done(store, run, 1, 0.5)
        done(store, run, 2, 0.25, odd=math.nan, vast=math.inf)
        begun(store, "hpo_vision.local", team="vision")
        yield ApiClient(store)


@pytest.fixture(autouse=True)
def _ada(api: ApiClient) -> None:
    """Whoever asks may do all on hpo_local, if a test does not say otherwise."""
    api.who, api.airflow.asked, api.airflow.answers = FakeCaller(), [], {}


def test_a_run_is_shown_with_how_far_it_is(api: ApiClient) -> None:
    run = api.get("/runs/1")
    assert (run["experiment"], run["status"], run["max_trials"]) == ("iris", "running", 4)
    assert run["trials"] == dict.fromkeys(TrialState, 0) | {"complete": 2}
    done, ahead, *more = run["line"].split(" · ")
    assert (done, ahead[:4], more[0]) == ("2/4 trials done", "ETA ", "0 running")
    assert more[1].startswith("best loss 0.25")


def test_a_run_that_has_ended_says_what_the_other_mode_would_have_cost(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        api, run = ApiClient(store), begun(store)
        for number in (1, 2):
            for trial in wave(store, run, number):
                done(store, run, trial, 0.5)
        assert api.get("/runs/1")["other_mode"] is None, "it goes on"
        store.finish_run(run.id, RunStatus.COMPLETE, "done")
        found = api.get("/runs/1")
        assert found["other_mode"].startswith("With the same durations mode async would have taken")
        assert found["elapsed_s"] == api.get("/runs")["runs"][0]["elapsed_s"] > 0


def test_numbers_that_json_has_not_are_null(api: ApiClient) -> None:
    metrics = api.get("/runs/1/trials/2")["metrics"]
    assert metrics == {"loss": 0.25, "odd": None, "vast": None}
    seen = api.get("/runs/1/trials/2/observations")["observations"]
    assert [(one["metric"], one["step"], one["value"]) for one in seen] == [
        ("loss", 1, 1.25),
        ("loss", 2, 0.25),
        ("odd", None, None),
        ("vast", None, None),
    ]


def test_what_a_running_trial_has_shown_so_far_is_told(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        run = begun(store)
        assert wave(store, run, 1) == [1, 2]
        attempt = store.open_attempt(run.id, 2, lambda _: {})
        store.live.keep(attempt.id, [Observation("loss", 0.5, 3), Observation("odd", math.nan)])
        api = ApiClient(store)
        shown = [(one["shown"], one["step"]) for one in api.get("/runs/1/trials")["trials"]]
        assert shown == [({}, None), ({"loss": 0.5, "odd": None}, 3)]
        assert len(api.get("/runs/1/trials/2/observations")["observations"]) == 2
        assert api.get("/runs/1")["line"].endswith(" · trial 2: loss 0.5 at step 3")
        done(store, run, 2, 0.25)
        assert api.get("/runs/1/trials/2")["shown"] == {}
        assert [
            one["value"] for one in api.get("/runs/1/trials/2/observations")["observations"]
        ] == [
            1.25,
            0.25,
        ]


def test_the_best_trial_is_that_of_the_objective(api: ApiClient) -> None:
    best = api.get("/runs/1/best")
    assert (best["metrics"], [one["number"] for one in best["trials"]]) == (["loss"], [2])


@pytest.mark.parametrize(
    ("path", "name"),
    [("/runs/1/trials", "trials"), ("/runs/1/trials/1/observations", "observations")],
)
def test_pages_follow_one_another_without_gap_or_repeat(
    api: ApiClient, path: str, name: str
) -> None:
    whole, found, after = api.get(path)[name], [], -1
    while after is not None:
        page = api.get(path, after=after, limit=1)
        found, after = found + page[name], page["next"]
    assert found == whole
    assert len(whole) == 2


def test_runs_and_experiments_come_a_page_at_a_time(api: ApiClient) -> None:
    api.who = FakeCaller(on=("hpo_local", "hpo_vision.local"))
    page = api.get("/runs", limit=1)
    assert ([one["id"] for one in page["runs"]], page["next"]) == ([2], 2)
    page = api.get("/runs", limit=1, before=2)
    assert [one["id"] for one in page["runs"]] == [1]
    assert api.get("/runs", before=1) == {"runs": [], "next": None}
    page = api.get("/experiments", limit=1)
    assert ([one["name"] for one in page["experiments"]], page["next"]) == (["iris"], "iris")
    page = api.get("/experiments", limit=1, after="iris")
    assert [one["name"] for one in page["experiments"]] == ["vision.iris"]


def test_a_run_is_found_by_its_name_in_airflow(api: ApiClient) -> None:
    found = api.get("/runs", dag_id="hpo_local", dag_run_id="manual__1")["runs"]
    assert [one["id"] for one in found] == [1]
    assert api.ask("GET", "/runs", params={"dag_id": "hpo_local"}).status_code == 422


def test_spec_report_and_table_are_those_of_the_run(api: ApiClient) -> None:
    assert load(api.get("/runs/1/spec")) == load(SPEC)
    report = api.ask("GET", "/runs/1/report")
    assert "iris" in report.text
    assert report.headers["content-security-policy"] == "sandbox allow-scripts"
    table = api.ask("GET", "/runs/1/trials.csv")
    assert len(table.text.splitlines()) == 3
    assert table.headers["content-type"].startswith("text/csv")


ROUTES = [
    "/experiments",
    "/runs",
    "/runs/1",
    "/runs/1/trials",
    "/runs/1/trials/1",
    "/runs/1/trials/1/observations",
    "/runs/1/trials/1/log",
    "/runs/1/trials/1/files",
    "/runs/1/trials/1/files/model.keras",
    "/runs/1/best",
    "/runs/1/spec",
    "/runs/1/report",
    "/runs/1/trials.csv",
    "/runs/1/summary",
    "/runs/1/table",
    "/runs/1/charts",
    "/runs/1/advice",
    "/overview/experiments",
    "/overview/runs",
    "/overview/compare?run=1",
    "/overview/task?dag_id=hpo_local&dag_run_id=manual__1",
    "/experiments/iris/champions",
    "/openapi.json",
]


@pytest.mark.parametrize("path", ROUTES)
def test_whom_airflow_does_not_know_sees_nothing(api: ApiClient, path: str) -> None:
    api.who = None
    answer = api.ask("GET", path)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("path", [path for path in ROUTES if path != "/openapi.json"])
def test_who_lacks_a_right_is_told_which(api: ApiClient, path: str) -> None:
    api.who = FakeCaller(rights=())
    answer = api.ask("GET", path)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("ada lacks Airflow's right GET on RUN of ")


def test_every_route_that_reads_is_tried(api: ApiClient) -> None:
    document = api.get("/openapi.json")
    reads = {path for path, methods in document["paths"].items() if "get" in methods}
    tried = {path.replace("/1/", "/{run_id}/", 1) for path in ROUTES}
    tried = {path.replace("trials/1", "trials/{number}") for path in tried}
    tried = {path.replace("model.keras", "{name}").partition("?")[0] for path in tried}
    tried = {path.replace("/iris/", "/{experiment}/") for path in tried}
    assert reads <= {path.replace("/runs/1", "/runs/{run_id}") for path in tried}


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/runs/1/trials", Right.SEE_TRIALS),
        ("/runs/1/summary", Right.SEE_TRIALS),
        ("/runs/1/table", Right.SEE_TRIALS),
        ("/runs/1/charts", Right.SEE_TRIALS),
        ("/runs/1/advice", Right.SEE_TRIALS),
        ("/overview/compare?run=1", Right.SEE_TRIALS),
        ("/runs/1/trials/1/files", Right.SEE_TRIALS),
        ("/runs/1/trials/1/files/model.keras", Right.SEE_TRIALS),
        ("/runs/1/trials/1/log", Right.READ_LOGS),
    ],
)
def test_each_right_is_airflows_own(api: ApiClient, path: str, right: Right) -> None:
    api.who = FakeCaller(rights=(Right.SEE_RUNS,))
    answer = api.ask("GET", path)
    assert answer.status_code == 403
    assert answer.json()["detail"] == f"ada lacks Airflow's right {right} of DAG hpo_local"


def test_runs_of_dags_that_one_may_not_see_are_not_there(api: ApiClient) -> None:
    assert [one["id"] for one in api.get("/runs")["runs"]] == [1]
    assert [one["name"] for one in api.get("/experiments")["experiments"]] == ["iris"]
    answer = api.ask("GET", "/runs/2")
    assert answer.status_code == 403
    assert "hpo_vision" not in answer.text, "nor is said which DAG it is"
    assert api.ask("GET", "/runs/3").status_code == 404


def test_the_log_is_that_of_the_trials_task_over_all_its_tries(api: ApiClient) -> None:
    task = "/dags/hpo_local/dagRuns/manual__1/taskInstances/wave_01.trial"
    tries = {1: ["::group::x", "one\ntwo"], 2: ["three"]}
    api.airflow.answers = {
        ("GET", f"{task}/1"): {"try_number": 2, "state": "success"},
        **{
            ("GET", f"{task}/logs/{number}"): {"content": [{"event": one} for one in lines]}
            for number, lines in tries.items()
        },
    }
    assert api.get("/runs/1/trials/2/log") == {
        "lines": ["one", "two", "three"],
        "next": 3,
        "ended": True,
    }
    page = api.get("/runs/1/trials/2/log", limit=2)
    assert page == {"lines": ["one", "two"], "next": 2, "ended": False}
    assert api.get("/runs/1/trials/2/log", offset=2)["lines"] == ["three"]


def test_a_trial_without_a_task_has_no_log_yet(api: ApiClient) -> None:
    assert api.get("/runs/1/trials/1/log") == {"lines": [], "next": 0, "ended": True}


def test_an_airflow_that_fails_is_asked_again_later(api: ApiClient) -> None:
    task = "/dags/hpo_local/dagRuns/manual__1/taskInstances/wave_01.trial/0"
    api.airflow.answers = {("GET", task): (500, {"detail": "locked"})}
    answer = api.ask("GET", "/runs/1/trials/1/log")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_the_store_that_is_away_is_an_outage(api: ApiClient, tmp_path: Path) -> None:
    made = ApiClient(api.store)
    made.opens = lambda: Store.open(f"sqlite:///{tmp_path}/none.db")
    answer = made.ask("GET", "/runs")
    assert answer.status_code == 503
    assert "hpo store upgrade" in answer.json()["detail"]


_NUMBERS = st.one_of(st.integers(-3, 5), st.integers(), st.sampled_from([0, MOST, MOST + 1]))
_ODD = st.one_of(_NUMBERS.map(str), st.text(max_size=8), st.sampled_from(["nan", "%00", "null"]))
_QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "after",
            "before",
            "limit",
            "status",
            "experiment",
            "dag_id",
            "dag_run_id",
            "sort",
            "run",
            "where",
            "columns",
            "search",
            "state",
            "offset",
            "task_id",
            "map_index",
        ]
    ),
    _ODD,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(ROUTES), first=_NUMBERS, query=_QUERIES)
def test_no_request_makes_it_fail(
    api: ApiClient, path: str, first: int, query: dict[str, str]
) -> None:
    answer = api.ask("GET", path.replace("/1", f"/{first}"), params=query)
    assert answer.status_code < 500, answer.text


def test_a_run_that_is_to_stop_says_why(api: ApiClient, tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        run = begun(store)
        stop = Decision.stop("target reached")
        store.next_batch(run.id, "wave-01", lambda _: engine.Step(stop=stop))
        assert ApiClient(store).get("/runs/1")["stopping"] == "target reached"
