"""Digits by schedulers on a real Airflow: epochs are saved, and none is trained twice."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.core.trial import Action, TrialState
from hpo_lib.records import Attempt, RunKey, RunView, TrialView
from tests.acceptance.conftest import ROOT, Stack
from tests.acceptance.epochs import trained_in

TRIAL = os.environ.get("HPO_TRIAL_PATH") or str(ROOT / ".venv-trial" / "bin")
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(not Path(TRIAL, "python").exists(), reason="needs the trial environment"),
]
#: Of an example: trials, epochs.
SHORT = {"digits-asha": (6, 9), "digits-auto": (4, 3)}


def conf(name: str) -> dict[str, Any]:
    """Give an example, with fewer trials and epochs, and a small network."""
    spec = yaml.safe_load((ROOT / "config" / "experiments" / f"{name}.yaml").read_text())
    trials, epochs = SHORT[name]
    return spec | {
        "sampler": {"name": "random", "seed": 2},
        "space": spec["space"] | {"units": {"type": "int", "low": 16, "high": 32}},
        "scheduler": spec["scheduler"] | {"max": epochs},
        "fixed": spec["fixed"] | {"epochs": epochs},
        "limits": {"max_trials": trials, "parallel_trials": 2, "max_failed_trials": 0},
    }


def log(attempt: Attempt) -> str:
    """Give all that an attempt on this machine has printed."""
    return (Path(attempt.handle["folder"]) / "log.txt").read_text()


def check(trial: TrialView) -> None:
    """See that a trial went from rung to rung, each from its checkpoint, and no epoch twice."""
    rungs = sorted(map(int, trial.trial.rungs))
    assert [one.resource for one in trial.attempts] == rungs
    trained = [trained_in(log(one)) for one in trial.attempts]
    begins = [0, *rungs[:-1]]
    assert trained == [
        list(range(begin + 1, end + 1)) for begin, end in zip(begins, rungs, strict=True)
    ]
    steps = [one.step for one in trial.observations if one.metric == "val_loss"]
    assert [step for step in steps if step] == list(range(1, rungs[-1] + 1)), "the whole curve"


def best_of(stack: Stack, key: RunKey) -> tuple[RunView, TrialView]:
    """Wait for the end of a run, and give its best trial."""
    view = stack.complete(key)
    (number,) = view.front
    return view, next(one for one in view.trials if one.trial.number == number)


def test_digits_by_schedulers_go_on_from_rung_to_rung(up: Stack) -> None:
    keys = {name: up.trigger(conf(name)) for name in SHORT}
    for name, (trials, epochs) in SHORT.items():
        view, best = best_of(up, keys[name])
        assert len(view.trials) == trials
        states = {one.trial.state for one in view.trials}
        assert states <= {TrialState.COMPLETE, TrialState.STOPPED}
        for one in view.trials:
            check(one)
        assert best.trial.rungs.keys() >= {1.0, float(epochs)}, "the best is trained to the end"
        promoted = [one.trial for one in view.decisions if one.action is Action.PROMOTE]
        again = [one.trial.number for one in view.trials for _ in one.attempts[1:]]
        assert sorted(promoted) == sorted(again)
        assert promoted
        folder = up.embedded.home / "hpo" / "runs" / f"{view.run.id:06d}-{name}"
        saved = re.search(r"Saved: \d+ of the (\d+) epochs", (folder / "report.html").read_text())
        assert saved
        assert int(saved[1]) == trials * epochs
