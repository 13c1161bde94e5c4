"""report.json: all of a run, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from factories import attempt, failed_run, front_run, good_run, refused_run, run, trial, view

from hpo_lib import report
from hpo_lib.core.trial import Cause, Origin, TrialState
from hpo_lib.records import RunView


def document(of: RunView) -> dict[str, Any]:
    def no(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads(report.json(of), parse_constant=no)
    return found


def test_every_trial_is_there_as_it_is() -> None:
    of = good_run(8)
    found = document(of)
    assert (found["run"], found["status"], found["front"]) == (12, "complete", of.front)
    assert found["spec"] == json.loads(json.dumps(of.run.document))
    for told, one in zip(found["trials"], of.trials, strict=True):
        assert (told["number"], told["state"]) == (one.trial.number, one.trial.state)
        assert told["params"] == one.trial.params
        assert told["on_front"] == (
            one.trial.number in of.front if one.trial.state is TrialState.COMPLETE else None
        )
    ranked = [one for one in found["trials"] if one["rank"] == 1]
    assert [one["number"] for one in ranked] == of.front


def test_several_objectives_are_named_with_their_directions() -> None:
    of = front_run(8)
    found = document(of)
    assert [one["direction"] for one in found["objectives"]] == ["maximize", "minimize"]
    assert [one["number"] for one in found["trials"] if one["feasible"]] == of.feasible


def test_what_json_has_no_number_for_is_null() -> None:
    odd = trial(1, cause=Cause.OBJECTIVE_NOT_FINITE, metrics={"val_auc": math.nan, "x": math.inf})
    (told,) = document(RunView(run(), [view(odd)]))["trials"]
    assert told["metrics"] == {"val_auc": None, "x": None}


def test_what_is_open_has_no_end() -> None:
    going = view(trial(1), attempt(1, 0, 5), attempt(1, 6, None, number=2))
    (told,) = document(RunView(run(), [going]))["trials"]
    assert told["ended_at"] is None
    assert told["started_at"] is not None


def test_final_trials_stand_apart() -> None:
    again = view(trial(9, 0.5, origin=Origin.FINAL, repeat=2))
    found = document(replace(good_run(2), finals=[again]))
    assert [(one["number"], one["seed"]) for one in found["finals"]] == [(9, 2)]
    assert len(found["trials"]) == 2


@pytest.mark.parametrize(
    "of",
    [refused_run(), failed_run(), RunView(run()), RunView(run({}, check=False))],
    ids=["refused", "failed", "empty", "unreadable"],
)
def test_any_run_has_one(of: RunView) -> None:
    assert document(of)["run"] == of.run.id
