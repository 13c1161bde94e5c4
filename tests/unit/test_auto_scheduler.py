"""The scheduler `auto`: its forecast, and whom it lets go on."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.normal import chance_below, improvement
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import (
    Assignment,
    Direction,
    History,
    Origin,
    Params,
    Suggestion,
    Trial,
    TrialState,
)
from hpo_lib.schedulers import Suggest
from hpo_lib.schedulers.auto import AutoScheduler, AutoSettings, rungs_to
from hpo_lib.schedulers.features import features_of
from hpo_lib.schedulers.moves import Moves, scale_of

#: Gives the loss of a configuration, a number from 0 to 1, after a step.
Curve = Callable[[float, float], float]


def telling(x: float, step: float) -> float:
    """Learn alike, to ends of which 0.3 is the best: early ranks are the last ones."""
    return abs(x - 0.3) + 1.0 / (1.0 + step)


def misleading(x: float, step: float) -> float:
    """Learn at rate x: the fast ones lead at first, and the best of the end is at 0.25."""
    rate = 0.01 * 100.0**x
    return math.exp(-rate * step) + 0.4 * x


def scheduler(most: int = 27, direction: Direction = Direction.MINIMIZE) -> AutoScheduler:
    return AutoScheduler(Goal.of(direction), 0, AutoSettings(max=most, resource="epoch"))


def suggested(history: History, count: int) -> list[Suggestion]:
    """Give what is random, but the same for the same history."""
    rng = np.random.default_rng(len(history.trials))
    return [Suggestion({"x": float(x)}) for x in rng.random(count)]


def none(history: History, count: int) -> list[Suggestion]:
    return []


def done(history: History, asked: Assignment, curve: Curve, sign: float = 1.0) -> History:
    """Train what is asked for, and give the history after it."""
    trials = {trial.number: trial for trial in history.trials}
    known = trials.get(asked.trial, Trial(asked.trial, asked.params))
    step = asked.resource or 0.0
    value = sign * curve(float(asked.params["x"]), step)
    rungs = {**known.rungs, step: value}
    state = TrialState.WAITING if asked.partial else TrialState.COMPLETE
    trials[asked.trial] = Trial(
        asked.trial,
        asked.params,
        state=state,
        value=None if asked.partial else value,
        rungs=rungs,
    )
    return History(tuple(trials[number] for number in sorted(trials)))


def played(
    curve: Curve, steps: float, most: int = 27, suggest: Suggest = suggested
) -> tuple[History, list[Assignment]]:
    """Run it with one place until so many steps are spent."""
    made, history, asked = scheduler(most), History(), []
    while steps > 0:
        (one,) = made.admit(history, suggest, 1)
        before = next((t.rungs for t in history.trials if t.number == one.trial), {})
        steps -= (one.resource or 0.0) - max(before, default=0.0)
        history = done(history, one, curve)
        asked.append(one)
    return history, asked


def best_end(history: History) -> float:
    return min(trial.value for trial in history.of(TrialState.COMPLETE) if trial.value is not None)


def waiting(values: dict[int, dict[float, float]]) -> History:
    """Give trials that wait, by number, from their values by rung."""
    return History(
        tuple(
            Trial(number, {"x": number / 10}, state=TrialState.WAITING, rungs=rungs)
            for number, rungs in values.items()
        )
    )


@pytest.mark.parametrize(
    ("most", "factor", "rungs"),
    [
        (243, 3, [1, 3, 9, 27, 81, 243]),
        (1000, 10, [1, 10, 100, 1000]),
        (100, 3, [1, 4, 11, 33, 100]),
        (2, 3, [1, 2]),
        (1, 3, [1]),
        (1, 2, [1]),
    ],
)
def test_rungs_are_whole_and_end_at_the_full_resource(
    most: int, factor: int, rungs: list[int]
) -> None:
    assert rungs_to(most, factor) == rungs


@given(st.integers(1, 10**9), st.integers(2, 1000))
def test_rungs_rise(most: int, factor: int) -> None:
    rungs = rungs_to(most, factor)
    assert rungs[0] >= 1
    assert rungs[-1] == most
    assert all(low < high for low, high in pairwise(rungs))


def test_numbers_are_scaled_and_words_have_a_column_each() -> None:
    params: list[Params] = [
        {"rate": 0.001, "units": 8, "kind": "adam"},
        {"rate": 0.1, "units": 16, "kind": "sgd", "momentum": 0.5},
        {"rate": 0.01, "units": 24, "kind": "adam"},
    ]
    # kind=sgd, momentum, rate by its logarithm, units
    told = [[0.0, 0.5, 0.0, 0.0], [1.0, 0.5, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]]
    assert features_of(params) == pytest.approx(np.array(told))


def test_configurations_without_parameters_have_no_columns() -> None:
    assert features_of([{}, {}]).shape == (2, 0)


def test_a_scale_goes_there_and_back() -> None:
    scale = scale_of(np.array([[3.0, 1.0], [2.0, np.nan], [90.0, np.nan]]))
    for loss in (0.5, 1.0, 2.0, 90.0):
        assert scale.back(float(scale.put(np.array([loss]))[0])) == pytest.approx(loss)


@given(st.floats(-6, 6))
def test_the_normal_distribution_is_right_to_seven_digits(z: float) -> None:
    exact = 0.5 * math.erfc(-z / math.sqrt(2))
    assert chance_below(np.array([z]))[0] == pytest.approx(exact, abs=1e-7)


@given(st.floats(-3, 3), st.floats(0.05, 3), st.floats(-2, 2))
@settings(deadline=None)
def test_improvement_is_the_mean_of_what_is_below_the_best(
    mean: float, spread: float, best: float
) -> None:
    drawn = mean + spread * np.random.default_rng(0).standard_normal(20_000)
    found = improvement(np.array([mean]), np.array([spread]), best)[0]
    assert found == pytest.approx(np.maximum(best - drawn, 0).mean(), abs=0.05 * spread)


def test_what_has_ended_is_known() -> None:
    seen = np.array([[1.0, 0.5], [1.2, 0.6], [1.1, np.nan], [1.3, 0.9]])
    moves = Moves(np.zeros((4, 1)), seen)
    mean, variance = moves.beliefs(np.arange(4))
    ended = [0, 1, 3]
    assert mean[ended] == pytest.approx(moves.scale.put(seen[ended, 1]))
    assert variance[2] > 2 * variance[ended].max()


def test_a_fast_learner_tells_what_a_slow_one_comes_to() -> None:
    rungs = np.array([1.0, 3.0, 9.0, 27.0])
    x = np.linspace(0, 1, 12)
    seen = np.array([[misleading(one, step) for step in rungs] for one in x])
    slow = 3
    ahead = seen.copy()
    ahead[slow, 2:] = np.nan
    moves = Moves(x[:, None], ahead)
    mean, _ = moves.beliefs(np.array([slow]))
    assert abs(moves.scale.back(float(mean[0])) - seen[slow, 3]) < 0.1
    assert seen[slow, 1] - seen[slow, 3] > 0.2


def test_what_falls_early_and_rises_again_is_not_forecast_to_stay_the_best() -> None:
    rungs = np.array([1.0, 3.0, 9.0, 27.0])
    speeds = np.geomspace(0.03, 3, 20)
    path = speeds[:, None] * rungs
    seen = 3 * np.exp(-path) + 0.4 * np.log1p(path / 3)
    fast, slow = 17, 9
    assert seen[fast, 0] < seen[slow, 0]
    assert seen[fast, 3] > seen[slow, 3]
    ahead = seen.copy()
    ahead[fast, 2:] = ahead[slow, 2:] = np.nan
    mean, _ = Moves(np.zeros((20, 1)), ahead).beliefs(np.array([fast, slow]))
    assert mean[0] > mean[1]


def test_a_rung_that_was_jumped_over_counts_as_the_next_one() -> None:
    seen = np.array([[1.0, 0.8, 0.5], [1.2, np.nan, 0.6], [1.1, 0.7, np.nan]])
    filled = np.array([[1.0, 0.8, 0.5], [1.2, 0.6, 0.6], [1.1, 0.7, np.nan]])
    who = np.array([2])
    found, same = (Moves(np.zeros((3, 1)), one).beliefs(who) for one in (seen, filled))
    assert found.mean == pytest.approx(same.mean)


@given(st.integers(0, 999), st.integers(1, 30), st.integers(2, 6), st.sampled_from([1, 30, 308]))
@settings(deadline=None, max_examples=60)
def test_ends_are_forecast_of_losses_of_any_size(
    seed: int, trials: int, rungs: int, powers: int
) -> None:
    rng = np.random.default_rng(seed)
    seen = 10.0 ** rng.uniform(-powers, powers, (trials, rungs))
    seen *= rng.choice([1.0, 1.0, -1.0], (trials, rungs))
    reached = rng.integers(1, rungs + 1, trials)
    seen[np.arange(rungs) >= reached[:, None]] = np.nan
    with np.errstate(all="raise", under="ignore"):
        moves = Moves(rng.random((trials, 2)), seen)
        mean, variance = moves.beliefs(np.arange(trials))
    assert np.isfinite(mean).all()
    assert (variance > 0).all()
    assert np.isfinite(variance).all()
    assert all(math.isfinite(moves.scale.back(float(end))) for end in mean)


@pytest.mark.parametrize("curve", [telling, misleading])
def test_it_finds_a_good_end_with_the_steps_of_ten_trials(curve: Curve) -> None:
    history, _ = played(curve, 10 * 27)
    ends = sorted(curve(x, 27) for x in np.linspace(0, 1, 200))
    regret = (best_end(history) - ends[0]) / (ends[100] - ends[0])
    assert regret < 0.15


@pytest.mark.parametrize(("curve", "most"), [(telling, 0.03), (misleading, 0.25)])
def test_it_finds_a_good_end_with_the_steps_of_twenty_trials(curve: Curve, most: float) -> None:
    """Of six orders of random trials: in one alone a single lucky trial decides."""
    ends = sorted(curve(x, 27) for x in np.linspace(0, 1, 200))

    def regret(order: int) -> float:
        def suggest(history: History, count: int) -> list[Suggestion]:
            rng = np.random.default_rng([order, len(history.trials)])
            return [Suggestion({"x": float(x)}) for x in rng.random(count)]

        history, _ = played(curve, 20 * 27, suggest=suggest)
        return float((best_end(history) - ends[0]) / (ends[100] - ends[0]))

    assert fmean(map(regret, range(6))) < most


def test_where_early_losses_tell_most_trials_stay_at_a_low_rung() -> None:
    history, asked = played(telling, 8 * 27)
    assert len(history.trials) > 12
    assert len(history.of(TrialState.COMPLETE)) < 8
    assert any(one.resume_from == one.trial for one in asked)


def test_every_promotion_is_explained_in_a_sentence() -> None:
    _, asked = played(misleading, 4 * 27)
    reasons = [one.reason for one in asked if one.resume_from is not None]
    assert reasons
    for reason in reasons:
        assert reason.startswith("epoch ")
        forecast = re.search(
            r" is forecast to end at \S+, better than the (best, \S+|middle) "
            r"with a chance of \d+%: it promises most$",
            reason,
        )
        assert forecast or reason.endswith("to learn whether early losses mislead")


def test_a_tenth_of_the_steps_goes_to_the_earliest_trials_whatever_their_losses() -> None:
    rungs = {1.0: 0.1, 3.0: 0.1, 9.0: 0.1}
    # 281 steps, of which a tenth is one training.
    history = waiting({1: {1.0: 9.0}, 2: {1.0: 8.0}} | dict.fromkeys(range(3, 34), rungs))
    due = scheduler().admit(history, none, 3)
    assert due[0].trial == 1
    assert due[0].reason == (
        "epoch 1: 9 goes to the end whatever it promises, to learn whether early losses mislead"
    )
    assert due[1].trial > 2


def test_trials_begin_with_a_quarter_of_the_steps_but_few_at_once() -> None:
    short, long = scheduler(9), scheduler(900)
    history = waiting({n: {1.0: n / 10, 3.0: n / 10} for n in range(1, 7)})
    # 18 steps: a quarter is four first steps, so that nothing more begins.
    assert short.admit(history, suggested, 1)[0].resume_from is not None
    ahead = waiting({n: {1.0: n / 10, 4.0: n / 10, 11.0: n / 10} for n in range(1, 7)})
    # 66 steps are hardly a share of a training of 900, and allow one more.
    assert [one.resume_from is None for one in long.admit(ahead, suggested, 3)] == [
        True,
        False,
        False,
    ]


def test_it_does_the_same_in_either_direction() -> None:
    low, high = scheduler(), scheduler(direction=Direction.MAXIMIZE)
    down = up = History()
    for _ in range(12):
        (one,), (other,) = low.admit(down, suggested, 1), high.admit(up, suggested, 1)
        assert (one.trial, one.resource) == (other.trial, other.resource)
        down, up = done(down, one, misleading), done(up, other, misleading, -1.0)


def test_what_the_user_asks_for_goes_first() -> None:
    def asks(history: History, count: int) -> list[Suggestion]:
        own = Suggestion({"x": 0.99}, Origin.INITIAL)
        return [own, *suggested(history, count - 1)][:count]

    made = scheduler()
    made.space = Space.parse({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    made.initial = [{"x": 0.99}]
    for decisions in range(60, 72):
        history, _ = played(telling, decisions)
        (one,) = made.admit(history, asks, 1)
        assert one.origin is Origin.INITIAL
        (other,) = made.admit(done(history, one, telling), suggested, 1)
        assert other.origin is Origin.SAMPLER


def test_new_configurations_begin_in_the_samplers_order() -> None:
    history, _ = played(telling, 60)
    offered = suggested(history, 5)
    due = scheduler().admit(history, lambda *_: list(offered), 5)
    begun = [one.params for one in due if one.resume_from is None]
    assert begun == [one.params for one in offered[: len(begun)]]


def shown(made: AutoScheduler, history: History) -> History:
    """Give what the sampler is shown when a trial begins."""
    seen: list[History] = []

    def asked(history: History, count: int) -> list[Suggestion]:
        seen.append(history)
        return suggested(history, count)

    made.admit(history, asked, 30)
    (found,) = seen
    return found


def test_the_sampler_is_shown_forecasts_as_ends_once_a_trial_has_ended() -> None:
    """Who leads at the first rung ends behind, and is forecast to."""
    history, _ = played(misleading, 14 * 27)
    assert not history.of(TrialState.RUNNING)
    found = shown(scheduler(), history)
    assert [one.params for one in found.trials] == [one.params for one in history.trials]
    assert {one.state for one in found.trials} == {TrialState.COMPLETE}
    assert not any(one.rungs for one in found.trials)
    pairs = list(zip(history.trials, found.trials, strict=True))
    ended = [(was, now) for was, now in pairs if was.state is TrialState.COMPLETE]
    assert all(was.value == now.value for was, now in ended)
    early, told, ends = zip(
        *((was.rungs[1.0], now.value, misleading(was.params["x"], 27)) for was, now in pairs),
        strict=True,
    )
    ranks = np.array([early, told, ends]).argsort(axis=1).argsort(axis=1)
    by_early, by_told = np.corrcoef(ranks)[2, :2]
    assert by_early < -0.3
    assert by_told > 0.3


def test_the_sampler_is_shown_what_is_there_where_nothing_is_forecast() -> None:
    history, _ = played(misleading, 14 * 27)
    low = Constraint.parse("loss <= 1", {"loss"})
    one, two = Direction.MINIMIZE, Direction.MAXIMIZE
    for goal in (Goal.of(one, two), Goal.of(one, constraints=[low])):
        made = AutoScheduler(goal, 0, AutoSettings(max=27))
        assert shown(made, history) == history
    begun = waiting({n: {1.0: n / 10} for n in range(1, 7)})
    assert shown(scheduler(), begun) == begun


def test_a_trial_without_hope_is_not_trained_on() -> None:
    good = {n: {1.0: 0.1 + n / 100, 3.0: 0.05 + n / 100} for n in range(2, 9)}
    history = waiting({1: {1.0: 50.0, 3.0: 50.0}, **good})
    ended = Trial(9, {"x": 0.9}, state=TrialState.COMPLETE, value=0.01, rungs={1.0: 0.1, 3.0: 0.01})
    made = scheduler(9)
    due = made.admit(History((*history.trials, ended)), none, 9)
    assert 1 not in {one.trial for one in due}


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_is_the_worst(odd: float) -> None:
    values = {n: {1.0: n / 10} for n in range(1, 7)} | {7: {1.0: odd}}
    due = scheduler().admit(waiting(values), none, 7)
    assert due[0].trial != 7
    assert all(one.reason for one in due)


def test_it_may_be_that_nothing_is_known() -> None:
    values = {n: {1.0: math.nan} for n in range(1, 8)}
    assert len(scheduler().admit(waiting(values), none, 3)) == 3
    assert scheduler().admit(History(), none, 3) == []


def test_a_full_resource_of_one_step_trains_everything_to_its_end() -> None:
    due = scheduler(1).admit(History(), suggested, 3)
    assert [(one.resource, one.partial) for one in due] == [(1, False)] * 3
