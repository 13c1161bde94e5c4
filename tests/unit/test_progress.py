"""What the terminal says of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import factories

from hpo_lib.cli.progress import ending, final, progress
from hpo_lib.core.trial import Assignment, Cause, History, Origin, Reused, Trial, TrialState
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import (
    AttemptState,
    Model,
    ModelStatus,
    Outcome,
    Provenance,
    RunKey,
    RunStatus,
    RunView,
    TrialView,
)
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
    assert progress(SPEC, History()) == "0/8 trials done · 0 running · 0 failed"


def test_progress_counts_and_predicts() -> None:
    trials = [
        Trial(1, {"x": 0.5}, TrialState.COMPLETE, value=0.25),
        Trial(2, {"x": 0.6}, TrialState.FAILED, cause=Cause.TIMEOUT, reason="slow"),
        Trial(3, {"x": 0.7}),
        Trial(4, {"x": 0.8}),
    ]
    assert progress(SPEC, History(trials, elapsed_s=60.0)) == (
        "2/8 trials done · 2 running · 1 failed · best loss 0.25 (trial 1) · ETA 3m 00s"
    )


def test_what_was_not_trained_is_counted_and_predicts_nothing() -> None:
    known = [
        Trial(n, {"x": n / 8}, TrialState.COMPLETE, value=n / 2, reused=Reused(3, n + 1))
        for n in (1, 2)
    ]
    assert progress(SPEC, History(known, elapsed_s=6.0)) == (
        "2/8 trials done · 0 running · 0 failed · 2 reused · best loss 0.5 (trial 1)"
    )
    trained = [*known, Trial(3, {"x": 0.7}, TrialState.COMPLETE, value=2.0)]
    assert progress(SPEC, History(trained, elapsed_s=6.0)).endswith(" · ETA 30s")


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
    assert progress(TWO, History(trials)).startswith(
        "1/8 trials done · 0 running · 0 failed · none feasible · ETA "
    )
    trials += [complete(2, 0.5, 3.0), complete(3, 0.4, 5.0), complete(4, 0.6, 4.0)]
    assert " · 0 failed · 2 on the Pareto front · ETA " in progress(TWO, History(trials))


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


def ended(tmp_path: Path, spec: Spec, values: list[tuple[float, float]]) -> list[str]:
    """Let a run with these trials end, and give what the terminal says of it."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    with Store.open(url) as store:
        run = store.start_run(
            RunKey("dag", "run"), spec, triggered_by="ada", provenance=Provenance()
        )
        numbers = range(1, len(values) + 1)
        asked = engine.Step(tuple(Assignment(n, {"x": n / 100}) for n in numbers))
        store.next_batch(run.id, "wave-01", lambda _: asked)
        for number, (loss, size) in zip(numbers, values, strict=True):
            attempt = store.open_attempt(run.id, number, lambda _: {})
            metrics = {"loss": loss, "size": size}
            found = Outcome(AttemptState.SUCCEEDED, "done", loss, metrics=metrics)
            store.close_attempt(attempt.id, found, final=True)
        run = store.finish_run(run.id, RunStatus.COMPLETE, "all done")
        return ending(store, run, tmp_path, "here").splitlines()
