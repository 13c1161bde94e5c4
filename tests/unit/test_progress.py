"""What the terminal says of a run."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import factories

from hpo_lib.cli import tables
from hpo_lib.cli.progress import ending, eta, final, progress, showing, so_far
from hpo_lib.core.trial import (
    Assignment,
    Cause,
    Decision,
    History,
    Origin,
    Reused,
    Trial,
    TrialState,
)
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import (
    AttemptState,
    Model,
    ModelStatus,
    Outcome,
    Provenance,
    Run,
    RunKey,
    RunStatus,
    RunView,
    TrialView,
)
from hpo_lib.records.audit import Actor
from hpo_lib.records.shown import Shown
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store, upgrade

SPEC = load(
    {
        "name": "x",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "limits": {"max_trials": 8, "parallel_trials": 2},
        "trial": {"command": ["true"]},
    }
)


def test_progress_before_the_first_trial_promises_nothing() -> None:
    assert progress(SPEC, History()) == "0/8 trials done · 0 running"


def test_progress_counts_and_predicts() -> None:
    trials = [
        Trial(1, {"x": 0.5}, TrialState.COMPLETE, value=0.25, duration_s=50.0),
        Trial(2, {"x": 0.6}, TrialState.FAILED, cause=Cause.TIMEOUT, reason="s", duration_s=70.0),
        Trial(3, {"x": 0.7}),
        Trial(4, {"x": 0.8}),
    ]
    now, later = (History(trials, elapsed_s=seconds) for seconds in (60.0, 90.0))
    assert progress(SPEC, now) == (
        "2/8 trials done · 2 running · 1 failed (trial 2: timeout: s) · best loss 0.25 (trial 1)"
    )
    assert eta(SPEC, now) == ["ETA 3m 00s"], "three rounds of two are left, of a minute each"
    assert eta(SPEC, later) == eta(SPEC, now), "it does not grow while trials run"
    assert eta(SPEC, later, 30.0) == ["ETA 2m 30s"], "it is less when time has passed"
    assert eta(SPEC, later, 500.0) == ["ETA 0.0s"]
    assert eta(SPEC, later, -5.0) == eta(SPEC, now), "a clock may have been set back"


def test_what_people_wait_for_is_seen_on_80_columns() -> None:
    trials = [
        Trial(1, {"x": 0.5}, TrialState.COMPLETE, value=0.25, duration_s=50.0),
        *(
            Trial(n, {"x": n / 8}, TrialState.FAILED, cause=Cause.TIMEOUT, reason="s")
            for n in (2, 3)
        ),
        Trial(4, {"x": 0.8}),
    ]
    known = History(trials)
    said = progress(SPEC, known, eta(SPEC, known))
    assert said.startswith("3/8 trials done · ETA 2m 30s · 1 running · 2 failed (trial 3: ")


def test_what_was_not_trained_is_counted_and_predicts_nothing() -> None:
    known = [
        Trial(n, {"x": n / 8}, TrialState.COMPLETE, value=n / 2, reused=Reused(3, n + 1))
        for n in (1, 2)
    ]
    assert progress(SPEC, History(known, elapsed_s=6.0)) == (
        "2/8 trials done · 0 running · 2 reused · best loss 0.5 (trial 1)"
    )
    assert eta(SPEC, History(known)) == []
    trained = [*known, Trial(3, {"x": 0.7}, TrialState.COMPLETE, value=2.0, duration_s=10.0)]
    assert eta(SPEC, History(trained)) == ["ETA 30s"]
    done = [replace(trained[2], number=number) for number in range(1, 9)]
    assert eta(SPEC, History(done)) == []


def test_of_running_trials_the_first_three_are_told_by_what_the_search_is_after() -> None:
    shown = {n: Shown({"auc": 0.9, "loss": n / 8}, step=n) for n in (1, 2, 4)}
    assert list(showing(SPEC, shown)) == [
        "trial 1: loss 0.125 at step 1",
        "trial 2: loss 0.25 at step 2",
        "trial 4: loss 0.5 at step 4",
    ]
    assert list(showing(SPEC, shown | {5: Shown({"auc": 0.9}), 6: Shown({})}))[3:] == ["and 2 more"]
    assert list(showing(SPEC, {5: Shown({"auc": 0.9})})) == ["trial 5: auc 0.9"]
    assert shown[1].line(["loss"]) == "loss 0.125, auc 0.9 at step 1"


def test_final_training_and_an_open_question_are_told() -> None:
    spec = load(SPEC.dump() | {"final": {}, "deploy": {"to": "package", "approval": "manual"}})
    trials = [
        Trial(9, {"x": 0.5}, TrialState.COMPLETE, value=0.25, origin=Origin.FINAL, repeat=1),
        Trial(10, {"x": 0.5}, origin=Origin.FINAL, repeat=2),
    ]
    finals = [TrialView(trial, "final") for trial in trials]
    view = RunView(factories.run(SPEC.dump()), (), finals)
    assert final(spec, view) == "final training: 1/2 trials done"
    now = datetime(2031, 5, 6, tzinfo=UTC)
    model = Model("x", 3, 1, 4, {"x": 0.5}, ModelStatus.CHALLENGER, "", now, now)
    model = replace(model, verdict=Verdict(True, "better."))
    said = final(spec, replace(view, model=model))
    assert "model version 3 is challenger · it waits to be approved in Airflow" in said
    champion = replace(model, status=ModelStatus.CHAMPION)
    assert final(spec, replace(view, model=champion)).endswith("model version 3 is champion")


TWO = load(
    SPEC.dump()
    | {
        "objective": [
            {"metric": "loss", "direction": "minimize"},
            {"metric": "size", "direction": "minimize"},
        ],
        "constraints": ["size <= 9"],
    }
)


def complete(number: int, loss: float, size: float) -> Trial:
    metrics = {"loss": loss, "size": size}
    return Trial(number, {"x": number / 10}, TrialState.COMPLETE, loss, metrics=metrics)


def test_progress_of_several_objectives_tells_the_size_of_the_front() -> None:
    trials = [complete(1, 0.5, 10.0)]
    assert progress(TWO, History(trials)) == "1/8 trials done · 0 running · none feasible"
    trials += [complete(2, 0.5, 3.0), complete(3, 0.4, 5.0), complete(4, 0.6, 4.0)]
    assert progress(TWO, History(trials)).endswith(" · 0 running · 2 on the Pareto front")


def test_a_run_that_is_being_stopped_says_why_and_promises_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    now = [datetime(2031, 5, 6, tzinfo=UTC)]
    with Store.open(url, now=lambda: now[0]) as store:
        run = store.start_run(RunKey("d", "r"), SPEC, triggered_by="ada", provenance=Provenance())
        asked = engine.Step(tuple(Assignment(n, {"x": n / 100}) for n in (1, 2)))
        store.next_batch(run.id, "wave-01", lambda _: asked)
        attempt = store.open_attempt(run.id, 1, lambda _: {})
        now[0] += timedelta(minutes=1)
        store.close_attempt(attempt.id, Outcome(AttemptState.SUCCEEDED, "done", 0.5), final=True)
        assert " · ETA 4m 00s · " in so_far(store, run)
        now[0] += timedelta(minutes=1)
        assert " · ETA 3m 00s · " in so_far(store, run), "it counts down"
        store.interventions.stop_run(run.id, Decision.stop("ada stopped it"), Actor("ada", "cli"))
        assert so_far(store, run).endswith(" · stopping: ada stopped it")
        assert "ETA" not in so_far(store, run)


def test_the_ending_lists_the_front(tmp_path: Path) -> None:
    told = ended(tmp_path, TWO, [(0.5, 3.0), (0.4, 5.0), (0.6, 4.0)])
    assert told[0] == "run 1 of x: complete (all done)"
    assert told[1:4] == [
        "front       2 trials that no other one beats",
        "  trial 1   loss = 0.5, size = 3",
        "  trial 2   loss = 0.4, size = 5",
    ]
    assert told[4].startswith("report ")


def test_the_ending_shows_the_best_trial(tmp_path: Path) -> None:
    told = ended(tmp_path, SPEC, [(0.5, 3.0), (0.4, 5.0)])
    assert told[1:3] == ["best trial  2: loss = 0.4", "              x = 0.02"]


def test_the_ending_of_a_run_without_a_feasible_trial_names_no_best(tmp_path: Path) -> None:
    told = ended(tmp_path, TWO, [(0.5, 30.0)])
    assert told[1].startswith("report ")


def test_the_ending_says_how_trials_have_failed(tmp_path: Path) -> None:
    nan, why = float("nan"), "exit code 2: can't open file 'churn.py'"
    told = ended(tmp_path, SPEC, [(0.5, 3.0), (nan, 0.0), (nan, 0.0)], why)
    assert told[3] == f"failed      trial 2, 3: user_error: {why}"


def ended(
    tmp_path: Path, spec: Spec, values: list[tuple[float, float]], why: str = ""
) -> list[str]:
    """Let a run with these trials end, those without a loss failed, and give what is said of it."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        run = _ended(store, spec, values, why)
        return ending(store, run, tmp_path, "here").splitlines()


def _ended(store: Store, spec: Spec, values: list[tuple[float, float]], why: str) -> Run:
    key = RunKey("dag", "run")
    run = store.start_run(key, spec, triggered_by="ada", provenance=Provenance())
    numbers = range(1, len(values) + 1)
    asked = engine.Step(tuple(Assignment(n, {"x": n / 100}) for n in numbers))
    store.next_batch(run.id, "wave-01", lambda _: asked)
    for number, (loss, size) in zip(numbers, values, strict=True):
        attempt = store.open_attempt(run.id, number, lambda _: {})
        metrics = {"loss": loss, "size": size}
        found = Outcome(AttemptState.SUCCEEDED, "done", loss, metrics=metrics)
        if math.isnan(loss):
            found = Outcome(AttemptState.FAILED, why, cause=Cause.USER_ERROR, exit_code=2)
        store.close_attempt(attempt.id, found, final=True)
    return store.finish_run(run.id, RunStatus.COMPLETE, "all done")


def test_a_run_takes_as_long_as_it_was_open() -> None:
    """Of an Airflow that does not tell, between its first beginning and its last end."""
    told = {"id": 7, "experiment": "iris", "status": "complete", "triggered_by": "ada"}
    told |= {"started_at": "2026-03-01T10:00:00+00:00", "ended_at": "2026-03-01T15:00:00+00:00"}
    told |= {"reason": "done", "stopping": None, "line": "8/8 trials done"}
    head, *_, last = tables.status(told, "https://airflow")
    assert (head, last) == ("run 7 of iris: complete after 5h 00m", "  https://airflow")
    newer = told | {"elapsed_s": 600.0, "other_mode": "With the same durations, as long."}
    head, *more = tables.status(newer, "https://airflow")
    assert head == "run 7 of iris: complete after 10m 00s"
    assert more[-2] == "  With the same durations, as long."
    assert "10m 00s" in list(tables.runs([newer]))[1]
