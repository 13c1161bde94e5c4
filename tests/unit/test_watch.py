"""What the terminal says of a run."""

from __future__ import annotations

from hpo_lib.spec import load
from hpo_lib.trial import Cause, History, Trial, TrialState
from hpo_lib.watch import progress

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
