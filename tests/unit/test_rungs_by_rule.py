"""The schedulers, rule by rule: rungs, ties, missing and late reports, other units, other words."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import Action, Assignment, Direction, History, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.samplers import NoSettings, Sampler
from hpo_lib.schedulers.hyperband import bracket_size
from hpo_lib.schedulers.rungs import ladder, value_at
from hpo_lib.search import engine
from hpo_lib.search.scheduling import judged, scheduler_of
from hpo_lib.search.suggesting import as_samplers_know
from hpo_lib.spec import Spec, load
from tests.unit.scheduler_contract import Played, never, spec

RUNNING, WAITING, STOPPED = TrialState.RUNNING, TrialState.WAITING, TrialState.STOPPED


def waiting(number: int, **rungs: float) -> Trial:
    """Make a trial that waits: `r3=0.5` is 0.5 at rung 3."""
    known = {float(name[1:]): value for name, value in rungs.items()}
    return Trial(number, {"x": number / 100}, WAITING, rungs=known)


def running(number: int, curve: dict[int, float], state: TrialState = RUNNING) -> Trial:
    value = list(curve.values())[-1] if state is TrialState.COMPLETE else None
    return Trial(number, {"x": number / 100}, state, value, curve=curve)


def maximizing(made: Spec) -> Spec:
    return load(made.dump() | {"objective": {"metric": "loss", "direction": "maximize"}})


def stops(made: Spec, *trials: Trial) -> dict[int, str]:
    said = judged(scheduler_of(made), History(trials), "it")
    return {n: one.reason for n, one in said.items() if one.action is Action.STOP}


def due(made: Spec, *trials: Trial, capacity: int = 3) -> list[Assignment]:
    step = engine.step(made, History(trials), capacity)
    known = {trial.number for trial in trials}
    return [one for one in step.assignments if one.trial in known]


@pytest.mark.parametrize(
    ("first", "factor", "most", "rungs"),
    [
        (1, 3, 243, [1, 3, 9, 27, 81, 243]),  # a logarithm, rounded down, loses one here
        (1, 10, 1000, [1, 10, 100, 1000]),  # and here
        (1, 3, 100, [1, 3, 9, 27, 81, 100]),
        (4, 2, 4, [4]),
        (1, 2.5, 20, [1, 2, 6, 15, 20]),  # whole between whole ends
        (0.1, 3, 2.7, [0.1, 0.3, 0.9, 2.7]),  # minutes, say; 0.1 * 3 is not 0.3 in floats
        (1, 1.1, 2, [1, 2]),
    ],
)
def test_rungs_are_exact(first: float, factor: float, most: float, rungs: list[float]) -> None:
    assert ladder(first, factor, most) == rungs


@given(st.integers(2, 12), st.integers(0, 12), st.integers(1, 50))
def test_a_power_has_one_rung_more_than_its_exponent(factor: int, power: int, first: int) -> None:
    assert len(ladder(first, factor, first * factor**power)) == power + 1


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "asha"}, "scheduler.max: is required"),
        ({"name": "asha", "max": 3, "grace_period": 9}, "grace_period must be <= max, got grace_"),
        ({"name": "asha", "max": 9, "brackets": 4}, "brackets must be <= 3, the number of rungs"),
        ({"name": "asha", "max": 9, "type": "stop"}, "scheduler.type: "),
        ({"name": "asha", "max": 1e9, "eta": 1.01}, "reduction_factor must leave at most 50 rungs"),
        ({"name": "asha", "max": 9, "max_t": 9}, "scheduler.max_t: is max in other words, which"),
        ({"name": "asha", "max": 9, "min_t": 1, "r_min": 1}, "scheduler.r_min: is grace_period in"),
        ({"name": "screen", "max": 1}, "grace_period must be < max, got grace_period=1, max=1"),
        ({"name": "pbt", "max": 3, "interval": 4}, "interval must be <= max, got interval=4, max"),
        ({"name": "median", "eta": 3}, 'scheduler: unknown key "eta"; known to median'),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_words(section: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        engine.check(spec(section))
    assert said in str(caught.value)


def test_plateau_is_a_limit() -> None:
    with pytest.raises(SpecError, match=r"unknown scheduler 'plateau': limits.patience ends a run"):
        spec({"name": "plateau"})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (  # Ray Tune
            {"name": "asha", "max_t": 27, "grace_period": 1, "time_attr": "training_iteration"},
            {"name": "asha", "max": 27, "resource": "training_iteration"},
        ),
        (  # Optuna
            {"name": "asha", "min_resource": 2, "max_resource": 18, "reduction_factor": 3},
            {"name": "asha", "grace_period": 2, "max": 18},
        ),
        (  # Katib
            {"name": "hyperband", "r_l": 9, "eta": 3, "resource_name": "epochs"},
            {"name": "hyperband", "max": 9, "resource": "epochs"},
        ),
        (
            {"name": "pbt", "n_population": 4, "truncation_threshold": 0.25, "max": 2},
            {"name": "pbt", "population": 4, "quantile": 0.25, "max": 2},
        ),
    ],
)
def test_words_of_other_tools_are_understood(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    one, other = scheduler_of(spec(theirs)), scheduler_of(spec(ours))
    assert one.settings == other.settings


def test_asha_promotes_the_best_third_with_a_reason() -> None:
    made = spec({"name": "asha", "max": 9, "resource": "epoch"}, trials=6)
    trials = [waiting(n, r1=n / 10) for n in range(1, 7)]
    assert [
        (one.trial, one.resource, one.partial, one.resume_from) for one in due(made, *trials)
    ] == [
        (1, 3, True, 1),
        (2, 3, True, 2),
    ]
    assert due(made, *trials)[0].reason == "epoch 1: 0.1 is among the best 2 of 6 trials"


def test_asha_looks_at_the_highest_rung_first() -> None:
    made = spec({"name": "asha", "max": 9}, trials=20)
    high = [waiting(n, r1=0.1, r3=n / 10) for n in (1, 2, 3)]
    low = [waiting(n, r1=0.01) for n in (4, 5, 6)]
    assert [(one.trial, one.resource, one.partial) for one in due(made, *high, *low)] == [
        (1, 9, False),
        (4, 3, True),
        (5, 3, True),
    ]


def test_of_equals_the_earlier_goes_on_and_neither_is_stopped_for_it() -> None:
    promotes = spec({"name": "asha", "max": 9}, trials=3)
    assert [one.trial for one in due(promotes, *(waiting(n, r1=0.5) for n in (1, 2, 3)))] == [1]
    kind = spec({"name": "asha", "max": 9, "type": "stopping"}, trials=3)
    assert stops(kind, *(running(n, {1: 0.5}) for n in (1, 2, 3))) == {}


def test_a_trial_that_failed_on_its_way_counts_at_the_rung_that_it_reached() -> None:
    made = spec({"name": "asha", "max": 9}, trials=3)
    failed = replace(waiting(1, r1=0.1), state=TrialState.FAILED)
    assert due(made, failed, waiting(2, r1=0.2), waiting(3, r1=0.3), capacity=1)[0].trial == 2


def test_a_run_of_too_few_trials_still_brings_one_to_its_end() -> None:
    played = Played(
        spec({"name": "asha", "max": 9}, trials=2),
        never,
        Random(0),
        waves=False,
    )
    played.play()
    states = [trial.state for trial in played.history.trials]
    assert states.count(TrialState.COMPLETE) == 1
    assert states.count(STOPPED) == 1


def test_brackets_share_the_trials_and_do_not_mix() -> None:
    made = spec({"name": "asha", "max": 9, "brackets": 2}, trials=100, parallel=100)
    first = [one.resource for one in engine.step(made, History(), 100).assignments]
    assert set(first) == {1, 3}
    assert 0.55 < first.count(1) / 100 < 0.75
    trials = [replace(waiting(n), rungs={float(first[n - 1] or 0): n / 100}) for n in range(1, 101)]
    reasons = {one.reason for one in due(made, *trials, capacity=100)}
    assert {reason.rpartition(" of ")[2] for reason in reasons} == {
        f"{first.count(1)} trials",
        f"{first.count(3)} trials",
    }


STOPS = spec({"name": "asha", "max": 9, "type": "stopping", "resource": "epoch"}, trials=9)


def test_the_stopping_kind_lets_nobody_wait() -> None:
    first = engine.step(STOPS, History(), 3).assignments
    assert [(one.resource, one.partial) for one in first] == [(9, False)] * 3


def test_a_running_trial_stops_in_words_unless_it_is_among_the_best() -> None:
    trials = [running(1, {1: 0.5, 2: 0.4}), running(2, {1: 0.6}), running(3, {1: 0.7})]
    assert stops(STOPS, *trials) == {
        2: "epoch 1: 0.6 is not among the best 1 of 3 trials",
        3: "epoch 1: 0.7 is not among the best 1 of 3 trials",
    }
    assert stops(STOPS, *trials[:2]) == {}, "with fewer than the factor nobody is stopped"


def test_larger_is_better_where_it_is() -> None:
    trials = [running(1, {1: 0.5}), running(2, {1: 0.6}), running(3, {1: 0.7})]
    assert set(stops(maximizing(STOPS), *trials)) == {1, 2}


def test_a_report_that_jumps_over_rungs_fills_all_of_them() -> None:
    jumped = running(1, {5: 0.4, 10: 0.3})
    assert [value_at(jumped, rung) for rung in (1, 3, 9, 27)] == [0.4, 0.4, 0.3, None]
    others = [running(n, {1: 0.5, 3: 0.1, 4: 0.2}) for n in (2, 3)]
    longer = spec({"name": "asha", "max": 27, "type": "stopping"}, trials=9)
    assert stops(longer, jumped, *others) == {}, "at rung 9 it is alone"
    late = running(1, {5: 0.4})
    assert stops(STOPS, late, *others) == {1: "epoch 3: 0.4 is not among the best 1 of 3 trials"}


def test_what_a_stopped_trial_reports_late_changes_nothing_for_it_and_counts_for_others() -> None:
    stopped = running(1, {1: 0.9, 3: 0.1}, STOPPED)
    trials = [stopped, running(2, {1: 0.2, 3: 0.2}), running(3, {1: 0.3, 3: 0.3})]
    assert set(stops(STOPS, *trials)) == {2, 3}


def test_nan_is_worse_than_anything() -> None:
    nan = float("nan")
    assert set(stops(STOPS, *(running(n, {1: v}) for n, v in ((1, nan), (2, 9.0), (3, nan))))) == {
        1,
        3,
    }


def test_samples_and_minutes_are_units_as_well() -> None:
    samples = spec({"name": "asha", "max": 90_000, "grace_period": 10_000, "resource": "sample"}, 3)
    trials = [waiting(n, r10000=n / 10) for n in (1, 2, 3)]
    (one,) = due(samples, *trials)
    assert (one.resource, one.reason) == (
        30_000,
        "sample 10000: 0.1 is among the best 1 of 3 trials",
    )
    minutes = spec({"name": "asha", "max": 4.5, "min": 0.5, "resource": "minute"}, 3)
    half = [replace(waiting(n), rungs={0.5: n / 10}) for n in (1, 2, 3)]
    assert [one.resource for one in due(minutes, *half)] == [1.5]


MEDIAN = spec({"name": "median", "resource": "epoch", "min_trials_required": 2, "start_step": 3}, 9)
DONE = [
    running(1, {1: 1.0, 2: 0.8, 3: 0.6, 4: 0.4}, TrialState.COMPLETE),
    running(2, {1: 0.8, 2: 0.6, 3: 0.4, 4: 0.2}, TrialState.COMPLETE),
]


def test_the_median_of_running_averages_stops_who_is_worse() -> None:
    said = stops(MEDIAN, *DONE, running(3, {1: 0.9, 2: 0.8, 3: 0.75}), running(4, {3: 0.69}))
    assert said == {3: "epoch 3: 0.75 is above the median 0.7 of 2 trials"}
    best = maximizing(MEDIAN)
    assert stops(best, *DONE, running(3, {1: 0.5, 2: 0.6, 3: 0.61})) == {
        3: "epoch 3: 0.61 is below the median 0.7 of 2 trials"
    }


def test_the_median_waits_for_trials_and_for_steps() -> None:
    assert stops(MEDIAN, DONE[0], running(3, {4: 9.0})) == {}
    assert stops(MEDIAN, *DONE, running(3, {2: 9.0})) == {}
    assert stops(MEDIAN, *DONE, running(3, {3: float("nan")})) == {}


def test_halving_in_step_waits_for_the_slowest() -> None:
    made = spec({"name": "successive_halving", "max": 9, "trials": 3}, trials=9)
    slow = [waiting(1, r1=0.1), waiting(2, r1=0.2), Trial(3, {"x": 0.3})]
    assert due(made, *slow) == []
    there = [*slow[:2], waiting(3, r1=0.3)]
    assert [one.trial for one in due(made, *there)] == [1]
    assert stops(made, *there) == {
        2: "step 1: 0.2 is not among the best 1 of 3 trials",
        3: "step 1: 0.3 is not among the best 1 of 3 trials",
    }


@pytest.mark.parametrize(("halvings", "size"), [(4, 81), (3, 34), (2, 15), (1, 8), (0, 5)])
def test_the_brackets_of_hyperband_are_the_papers(halvings: int, size: int) -> None:
    assert bracket_size(4, halvings, 3) == size


def test_screen_keeps_the_best_few() -> None:
    made = spec({"name": "screen", "max": 9, "keep": 2}, trials=4)
    trials = [waiting(n, r1=1 / n) for n in range(1, 5)]
    assert [(one.trial, one.resource, one.partial) for one in due(made, *trials)] == [
        (4, 9, False),
        (3, 9, False),
    ]


def test_pbt_lets_a_new_trial_go_on_from_one_of_the_best() -> None:
    made = spec({"name": "pbt", "population": 4, "max": 3}, trials=9, parallel=4)
    trials = [waiting(n, r1=n / 10) for n in range(1, 5)]
    step = engine.step(made, History(tuple(trials)), 4)
    heir, *others = step.assignments
    assert (heir.trial, heir.resume_from, heir.resource, heir.partial) == (5, 1, 2, True)
    assert heir.reason == "step 1: goes on from trial 1"
    assert [(one.trial, one.resume_from, one.resource) for one in others] == [
        (1, 1, 2),
        (2, 2, 2),
        (3, 3, 2),
    ]
    after = [*trials, Trial(5, heir.params)]
    assert stops(made, *after) == {
        4: "step 1: 0.4 is among the worst 1 of 4 trials; trial 5 takes its place"
    }


def test_pbt_without_room_for_heirs_lets_the_worst_go_on() -> None:
    made = spec({"name": "pbt", "population": 4, "max": 3}, trials=4, parallel=4)
    trials = [waiting(n, r1=n / 10) for n in range(1, 5)]
    assert sorted(one.trial for one in due(made, *trials, capacity=4)) == [1, 2, 3, 4]


class Reads(Sampler):
    """A sampler that reads values, or what else a test says."""

    Settings = NoSettings


def told(reads: str, *trials: Trial, parameters: int = 1) -> dict[int, tuple[str, float | None]]:
    space = Space.parse(
        {f"x{n}": {"type": "float", "low": 0, "high": 1} for n in range(parameters)}
    )
    kind = type("Kind", (Reads,), {"reads": reads})
    sampler = kind(space, Goal.of(Direction.MINIMIZE), 0, NoSettings())
    known = as_samplers_know(History(trials), sampler)
    return {trial.number: (trial.state.value, trial.value) for trial in known.trials}


COMPLETE = replace(waiting(1, r1=0.9, r3=0.1), state=TrialState.COMPLETE, value=0.1)


def test_a_sampler_of_values_is_told_the_highest_rung_with_enough_trials() -> None:
    low = [waiting(n, r1=n / 10) for n in (2, 3)]
    stopped = replace(waiting(4, r1=0.4), state=STOPPED)
    way = Trial(5, {"x": 0.5})
    assert told("values", COMPLETE, *low, stopped, way) == {
        1: ("complete", 0.9),
        2: ("complete", 0.2),
        3: ("complete", 0.3),
        4: ("complete", 0.4),
        5: ("running", None),
    }


def test_with_enough_complete_trials_only_these_have_values() -> None:
    done = [replace(COMPLETE, number=n) for n in range(1, 5)]
    assert told("values", *done, waiting(5, r1=0.0))[5] == ("running", None)
    assert told("values", *done, waiting(5, r1=0.0))[1] == ("complete", 0.1)


def test_a_sampler_of_rungs_sees_trials_that_wait_as_running() -> None:
    low = [waiting(n, r1=n / 10) for n in (2, 3, 4, 5)]
    assert told("rungs", COMPLETE, *low)[1] == ("complete", 0.1)
    assert {told("rungs", COMPLETE, *low)[n] for n in (2, 3, 4, 5)} == {("running", None)}
    assert told("number", *low)[2] == ("waiting", None), "it does not look"


def test_too_few_trials_at_a_rung_tell_nothing() -> None:
    assert told("values", waiting(1, r1=0.5), parameters=2) == {1: ("running", None)}
