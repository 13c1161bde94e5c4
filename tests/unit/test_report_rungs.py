"""What a scheduler did, in the report: rungs, reasons, and steps that it has saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from factories import SPEC, attempt, good_run, run, rungs_run, trial, view
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib import report
from hpo_lib.core.trial import Cause, Observation, TrialState
from hpo_lib.records import AttemptState, RunView
from hpo_lib.report import savings
from hpo_lib.report.data import data_of
from hpo_lib.report.facts import Facts

EVIL = "<img src=x onerror=alert(1)>"


def saved(of: RunView) -> savings.Savings:
    found = savings.saved(Facts.of(of))
    assert found is not None
    return found


def watched(*last: int, **scheduler: Any) -> RunView:
    """Trials that were stopped at a step that they had reported, the last one complete."""
    views = []
    for number, steps in enumerate(last):
        over = number == len(last) - 1
        made = trial(number, 0.5 if over else None)
        tried = attempt(number, 0, steps)
        if not over:
            made = replace(made, state=TrialState.STOPPED)
            tried = replace(tried, state=AttemptState.FAILED, cause=Cause.STOPPED)
        seen = [Observation("val_auc", 0.5, step) for step in range(steps)]
        views.append(view(made, tried, observations=seen))
    return RunView(run(SPEC | {"scheduler": {"name": "median"} | scheduler}), tuple(views))


def test_steps_that_nobody_trained_are_saved_and_cost_what_a_step_took() -> None:
    """7 trials of 9 epochs are 63; 19 were trained, each in 0.5 s after a start of 2 s."""
    found = saved(rungs_run())
    assert (found.begun, found.most, found.trained, found.saved) == (7, 9, 19, 44)
    assert found.pace_s == pytest.approx(0.5)
    said = (
        "Saved: 44 of the 63 epochs (70 %) that 7 trials would have taken to epoch 9. "
        "At 0.5s each, as in this run, they would have cost 22s of training."
    )
    assert found.told == said
    assert said in report.html(rungs_run())


@given(st.lists(st.sampled_from([1, 3, 9]), min_size=1, max_size=8), st.integers(1, 20))
def test_what_is_saved_and_what_is_trained_is_all_that_began(ends: list[int], most: int) -> None:
    """Also where the end is told to be nearer than what trials have reached."""
    found = saved(rungs_run(ends, max=most))
    assert found.saved + found.trained == found.begun * found.most
    assert found.saved >= 0
    assert found.begun == len(ends)


def test_trials_that_failed_run_or_never_began_are_left_out() -> None:
    made = rungs_run((1, 9))
    more = [
        view(trial(2, cause=Cause.USER_ERROR, rungs={1.0: 0.5}), attempt(2, 0, 1)),
        view(trial(3), attempt(3, 0, None)),
        view(trial(4, state=TrialState.STOPPED, reason="not begun: failure budget spent")),
    ]
    assert saved(replace(made, trials=[*made.trials, *more])) == saved(made)


def test_a_scheduler_that_watches_is_told_by_what_trials_reported() -> None:
    """Steps are counted from 0 here; without a `max` the complete trial says how far it goes."""
    found = saved(watched(2, 4, 10))
    assert (found.most, found.trained, found.saved) == (10, 16, 14)
    assert found.pace_s == pytest.approx(1.0)
    assert saved(watched(2, 4, 10, max=20)).whole == 60


UNSAVED = {
    "no scheduler": good_run(8),
    "fifo": replace(rungs_run(), run=run(SPEC | {"scheduler": {"name": "fifo"}})),
    "trials that go on from others": rungs_run(name="pbt"),
    "no trial": replace(rungs_run(), trials=()),
    "no known end": replace(watched(2, 3), trials=watched(2, 3).trials[:1]),
}


@pytest.mark.parametrize("made", UNSAVED.values(), ids=UNSAVED.keys())
def test_nothing_is_said_where_nothing_was_saved(made: RunView) -> None:
    assert savings.saved(Facts.of(made)) is None
    assert "Saved: " not in report.html(made)


@given(
    start_s=st.floats(0.1, 100),
    step_s=st.floats(0.1, 100),
    steps=st.lists(st.integers(1, 100), min_size=2, max_size=9),
)
def test_a_step_takes_what_is_left_of_an_attempt_without_its_start(
    start_s: float, step_s: float, steps: list[int]
) -> None:
    found = savings.pace_s([(one, start_s + one * step_s) for one in steps])
    if len(set(steps)) > 1:
        assert found == pytest.approx(step_s, rel=1e-6)
    else:
        assert found == pytest.approx(start_s / steps[0] + step_s)


def test_attempts_that_say_nothing_of_a_step_share_out_their_time() -> None:
    assert savings.pace_s([]) is None
    assert savings.pace_s([(1, 10.0), (3, 6.0)]) == 4.0, "longer ones were quicker"


def test_values_by_rung_are_lines_by_trial_and_there_are_none_of_one_rung() -> None:
    found = data_of(rungs_run())["rungs"]
    assert (found["unit"], found["ladder"]) == ("epoch", [1, 3, 9])
    assert found["at"] == [[0], [0, 1, 2], [0], [0, 1], [0], [0, 1], [0]]
    assert 'id="chart-rungs"' in report.html(rungs_run())
    assert 'id="chart-rungs"' not in report.html(rungs_run((1, 1)))
    assert 'id="rungs"' not in report.html(good_run(8))


def test_decisions_that_are_alike_are_told_as_one() -> None:
    made = rungs_run((9, 1, 1))
    ended = [replace(one, reason="the run has ended") for one in made.decisions]
    text = report.html(replace(made, decisions=ended))
    assert "<li>trial 0 promoted to epoch 9: the run has ended</li>" in text
    assert "<li>trials 1, 2 stopped: the run has ended</li>" in text


def test_a_unit_and_reasons_are_text() -> None:
    evil = replace(rungs_run(resource=EVIL).decisions[0], reason=EVIL)
    text = report.html(replace(rungs_run(resource=EVIL), decisions=[evil]))
    assert EVIL not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") >= 2
