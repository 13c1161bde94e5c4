"""Warm start: which runs and trials advise, how much, and what is said of the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import factories
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Cause, Earlier, History, Origin, Reused, Trial, TrialState
from hpo_lib.records import Advice, Past, Run, Told
from hpo_lib.samplers import random_params
from hpo_lib.search import engine
from hpo_lib.search.warm_start import advise, first_point, select, weight
from hpo_lib.spec import Spec, load
from hpo_lib.spec.sections import WarmStart

DAY_S = 86_400.0
UNIT = {"type": "float", "low": 0.0, "high": 1.0}
LOSS = {"metric": "loss", "direction": "minimize"}
SIZE = {"metric": "size", "direction": "minimize"}
SGD = {"optimizer": ["sgd"]}
#: What a parameter may be in one run and in the next.
VARIED: dict[str, list[dict[str, Any]]] = {
    "lr": [
        {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
        {"type": "float", "low": 0.01, "high": 0.1, "scale": "log"},
        {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
        {"type": "ordinal", "choices": [0.001, 0.5]},
    ],
    "units": [
        {"type": "int", "low": 1, "high": 64},
        {"type": "int", "low": 8, "high": 32, "step": 8},
        {"type": "ordinal", "choices": [8, 16, 64]},
        {"type": "float", "low": 0.5, "high": 20.0},
    ],
    "optimizer": [
        {"type": "categorical", "choices": ["adam", "sgd"]},
        {"type": "categorical", "choices": ["sgd", "lion"]},
    ],
    "momentum": [UNIT, UNIT | {"when": SGD}],
}
FIXED: dict[str, list[Any]] = {
    "lr": [0.01, 0.5],
    "units": [8, 7],
    "optimizer": ["adam", "sgd"],
    "momentum": [0.5],
}


def spec(space: Mapping[str, Any] | None = None, **changes: Any) -> Spec:
    plain = {
        "name": "nightly",
        "objective": LOSS,
        "space": space or {"x": UNIT},
        "trial": {"command": ["train"]},
        "warm_start": {},
    }
    return load(plain | changes)


def complete(number: int, value: float, **params: Any) -> Trial:
    return Trial(number, params, TrialState.COMPLETE, value, metrics={"loss": value})


def past(made: Spec, trials: Sequence[Trial], *, age_s: float = 0.0, number: int = 12) -> Past:
    run: Run = factories.run(made.dump(), id=number)
    return Past(run, tuple(trials), age_s)


def trials_of(made: Spec, count: int) -> list[Trial]:
    """Make complete trials with different values, and a failed one."""
    points = [random_params(made.search_space, 5, n) for n in range(count)]
    failed = Trial(count + 1, points[0], TrialState.FAILED, cause=Cause.TIMEOUT)
    values = [(n * 7919 % 101) / 10 for n in range(count)]
    pairs = enumerate(zip(points, values, strict=True), 1)
    return [*(complete(number, value, **point) for number, (point, value) in pairs), failed]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a spec whose parameters are varied in one of several ways, constants, or absent."""
    space: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    for name in VARIED:
        kind = draw(st.sampled_from(["varied", "varied", "fixed", "absent"]))
        if kind == "varied":
            space[name] = draw(st.sampled_from(VARIED[name]))
        elif kind == "fixed":
            fixed[name] = draw(st.sampled_from(FIXED[name]))
    assume(space)
    if "optimizer" not in space and "when" in space.get("momentum", {}):
        space["momentum"] = UNIT
    top = draw(st.integers(1, 12))
    return spec(space, fixed=fixed, warm_start={"top": top})


class TestProperties:
    @given(old=specs(), new=specs(), age_s=st.floats(0, 30 * DAY_S))
    def test_what_advises_is_of_the_new_space(self, old: Spec, new: Spec, age_s: float) -> None:
        trials = trials_of(old, 20)
        advice = advise(new, [past(old, trials, age_s=age_s)])
        assert len(advice.runs) <= 1
        values = {trial.number: trial.value for trial in trials}
        for told in advice.runs:
            assert 0 < told.weight <= 1
            assert 1 <= len(told.trials) <= (new.warm_start or WarmStart()).top
            assert len({key(trial.params) for trial in told.trials}) == len(told.trials)
            for trial in told.trials:
                assert new.search_space.canonical(trial.params) == trial.params
                assert trial.value == values[trial.number]
        if not advice.runs:
            assert advice.dropped

    @given(made=specs())
    def test_the_same_space_holds_everything(self, made: Spec) -> None:
        everything = made.model_copy(update={"warm_start": WarmStart(top=200)})
        trials = trials_of(made, 20)
        advice = advise(everything, [past(made, trials)])
        assert advice.dropped == ()
        found = {key(trial.params) for trial in advice.runs[0].trials}
        assert found == {key(trial.params) for trial in trials}

    @given(old=specs(), new=specs(), draw=st.randoms())
    def test_the_order_of_trials_does_not_matter(self, old: Spec, new: Spec, draw: Any) -> None:
        trials = trials_of(old, 20)
        shuffled = list(trials)
        draw.shuffle(shuffled)
        assert advise(new, [past(old, trials)]).runs == advise(new, [past(old, shuffled)]).runs

    @given(old=specs(), new=specs())
    def test_the_plain_form_is_json_and_comes_back(self, old: Spec, new: Spec) -> None:
        advice = advise(new, [past(old, trials_of(old, 8), age_s=DAY_S)])
        assert Advice.read(json.loads(json.dumps(advice.dump()))) == advice

    @given(
        first=st.floats(0, 1e9),
        later=st.floats(0, 1e9),
        most=st.floats(0, 1, exclude_min=True),
        half=st.sampled_from(["1s", "7d", "366d"]),
    )
    def test_the_weight_falls_with_age(
        self, first: float, later: float, most: float, half: str
    ) -> None:
        asked = WarmStart(weight=most, half_life=half)
        young, old = weight(asked, min(first, later)), weight(asked, max(first, later))
        assert 0 <= old <= young <= most

    def test_it_halves(self) -> None:
        asked = WarmStart(weight=0.8, half_life="2d")
        assert [weight(asked, days * DAY_S) for days in (0, 2, 4)] == [0.8, 0.4, 0.2]
        assert weight(asked, -5.0) == 0.8, "clocks may disagree"

    @given(count=st.integers(1, 30), top=st.integers(1, 40), seed=st.integers(0, 99))
    def test_the_best_half_is_always_there(self, count: int, top: int, seed: int) -> None:
        made = spec({"x": UNIT, "y": UNIT})
        points = [random_params(made.search_space, seed, n) for n in range(count)]
        trials = [complete(n, float(n * 37 % 41), **point) for n, point in enumerate(points)]
        chosen = select(made.goal, made.search_space, trials, top)
        assert len(chosen) == min(top, count)
        assert len({trial.number for trial in chosen}) == len(chosen)
        ranked = sorted(trials, key=lambda trial: (trial.value, trial.number))
        best = math.ceil(top / 2)
        assert list(chosen[:best]) == ranked[:best]


class TestRuns:
    def test_without_warm_start_there_is_no_advice(self) -> None:
        made = spec(warm_start=None)
        advice = advise(made, [past(made, [complete(1, 1.0, x=0.5)])])
        assert (advice, advice.dump(), list(advice.lines())) == (Advice(), {}, [])

    def test_what_advises_is_told(self) -> None:
        made = spec(warm_start={"half_life": "1d", "top": 2})
        trials = [complete(n, float(n), x=n / 8) for n in range(4)]
        runs = [past(made, trials), past(made, trials[:1], age_s=DAY_S, number=9)]
        advice = advise(made, runs)
        assert list(advice.lines()) == [
            "advised by 2 earlier runs, 3 trials",
            "run 12 of nightly: 2 trials, weight 1",
            "run 9 of nightly: 1 trial, weight 0.5",
        ]
        first = tuple(Trial(n, {"x": n / 8}, TrialState.COMPLETE, float(n)) for n in (0, 3))
        assert advice.earlier == (Earlier(first, 1.0), Earlier(first[:1], 0.5))

    def test_a_result_that_was_reused_counts_once_in_the_newest_run(self) -> None:
        made = spec(warm_start={"top": 8})
        old = [complete(n, float(n), x=n / 8) for n in range(3)]
        copies = [replace(one, number=one.number + 5, reused=Reused(9, one.number)) for one in old]
        oldest = past(made, old, number=9)
        advice = advise(made, [past(made, [*copies[:2], complete(1, 7.0, x=0.9)]), oldest])
        assert [[one.number for one in told.trials] for told in advice.runs] == [[5, 6, 1], [2]]
        advice = advise(made, [past(made, copies, number=11), past(made, copies), oldest])
        assert [told.run for told in advice.runs] == [11]
        assert advice.dropped == (
            "run 12: not used, later runs have all of its results",
            "run 9: not used, later runs have all of its results",
        )

    def test_of_no_run_it_says_so(self) -> None:
        assert advise(spec(), []).dropped == ("no run of nightly is complete yet",)
        made = spec(warm_start={"from": ["a", "b"]})
        assert advise(made, []).dropped == ("no run of a or b is complete yet",)

    @pytest.mark.parametrize(
        ("objective", "theirs"),
        [
            ({"metric": "val_auc", "direction": "maximize"}, "maximize val_auc"),
            (LOSS | {"direction": "maximize"}, "maximize loss"),
            ([LOSS, SIZE], "minimize loss and minimize size"),
        ],
    )
    def test_a_run_with_other_objectives_is_not_used(self, objective: Any, theirs: str) -> None:
        old = spec(objective=objective)
        advice = advise(spec(), [past(old, [complete(1, 1.0, x=0.5)])])
        said = f"run 12: not used, it was to {theirs}, not to minimize loss"
        assert advice == Advice((), (said,))

    def test_of_several_objectives_all_have_to_agree(self) -> None:
        both = spec(objective=[LOSS, SIZE])
        trial = Trial(3, {"x": 0.5}, TrialState.COMPLETE, 1.0, metrics={"loss": 1.0, "size": 2.0})
        advice = advise(both, [past(both, [trial])])
        assert advice.runs[0].trials == (trial,)
        assert not advise(spec(objective=[SIZE, LOSS]), [past(both, [trial])]).runs

    def test_a_run_that_weighs_next_to_nothing_is_not_used(self) -> None:
        made = spec()
        advice = advise(made, [past(made, [complete(1, 1.0, x=0.5)], age_s=60 * DAY_S)])
        said = "run 12: not used, at an age of 60d 00h its weight is below 0.01"
        assert advice == Advice((), (said,))

    def test_a_run_without_a_complete_trial_is_not_used(self) -> None:
        made = spec()
        advice = advise(made, [past(made, [Trial(1, {"x": 0.5}, TrialState.FAILED)])])
        assert advice.dropped == ("run 12: not used, none of its trials is complete",)

    def test_a_spec_that_cannot_be_read_any_more_is_enough_if_its_goal_and_params_can(self) -> None:
        trial = complete(1, 1.0, x=0.5)
        run = factories.run({"objective": LOSS, "scheduler": "gone"}, check=False)
        assert advise(spec(), [Past(run, (trial,), 0.0)]).runs[0].trials[0].params == {"x": 0.5}
        unreadable = factories.run({"objective": "loss"}, check=False)
        said = "run 12: not used, it was to nothing that can be read, not to minimize loss"
        assert advise(spec(), [Past(unreadable, (trial,), 0.0)]).dropped == (said,)


def mapped(old: Spec, new: Spec, *trials: Trial) -> tuple[list[Mapping[str, Any]], Sequence[str]]:
    advice = advise(new, [past(old, trials)])
    return [trial.params for told in advice.runs for trial in told.trials], advice.dropped


class TestMapping:
    Y = spec({"x": UNIT, "y": UNIT})

    def test_what_is_out_of_range_is_left_out(self) -> None:
        new = spec({"x": UNIT | {"low": 0.5}, "y": UNIT | {"high": 0.5}})
        trials = [complete(n, n, x=x, y=0.75) for n, x in enumerate((0.0, 0.25, 0.75))]
        params, dropped = mapped(self.Y, new, *trials, complete(9, 9.0, x=0.75, y=0.25))
        assert params == [{"x": 0.75, "y": 0.25}]
        assert dropped == (
            "run 12: 3 of 4 complete trials left out: x: must be within [0.5, 1.0] (2); "
            "y: must be within [0.0, 0.5] (1)",
        )

    def test_what_was_varied_and_is_a_constant_must_have_had_its_value(self) -> None:
        new = spec({"x": UNIT}, fixed={"y": 0.5})
        trials = [complete(n, n, x=n / 8, y=n / 4) for n in range(4)]
        params, dropped = mapped(self.Y, new, *trials)
        assert params == [{"x": 0.25}]
        assert dropped == ("run 12: 3 of 4 complete trials left out: y: is fixed at 0.5 (3)",)

    def test_what_is_gone_is_passed_over_and_the_best_of_equals_stays(self) -> None:
        trials = [complete(1, 3.0, x=0.5, y=0.1), complete(2, 2.0, x=0.5, y=0.2)]
        advice = advise(spec(), [past(self.Y, trials)])
        assert [(t.params, t.value) for t in advice.runs[0].trials] == [({"x": 0.5}, 2.0)]
        assert advice.dropped == ()

    def test_a_constant_of_its_time_stands_in_for_a_new_parameter(self) -> None:
        old = spec({"x": UNIT}, fixed={"y": 0.25})
        assert mapped(old, self.Y, complete(1, 1.0, x=0.5)) == ([{"x": 0.5, "y": 0.25}], ())

    def test_a_new_parameter_without_a_value_leaves_nothing(self) -> None:
        params, dropped = mapped(spec(), self.Y, complete(1, 1.0, x=0.5))
        assert params == []
        assert dropped == ("run 12: 1 of 1 complete trial left out: y: is required (1)",)

    def test_a_constant_that_has_changed_is_drift_like_any_other(self) -> None:
        old, new = (spec(fixed={"day": day}) for day in ("monday", "tuesday"))
        assert mapped(old, new, complete(1, 1.0, x=0.5)) == ([{"x": 0.5}], ())

    def test_conditions_are_those_of_the_new_space(self) -> None:
        choice = {"type": "categorical", "choices": ["adam", "sgd"]}
        always = spec({"optimizer": choice, "m": UNIT})
        sometimes = spec({"optimizer": choice, "m": UNIT | {"when": SGD}})
        adam, sgd = (
            complete(1, 1.0, optimizer="adam", m=0.5),
            complete(2, 2.0, optimizer="sgd", m=0.5),
        )
        params, _ = mapped(always, sometimes, adam, sgd)
        assert params == [{"optimizer": "adam"}, {"optimizer": "sgd", "m": 0.5}]
        adam = complete(1, 1.0, optimizer="adam")
        params, dropped = mapped(sometimes, always, adam, sgd)
        assert params == [{"optimizer": "sgd", "m": 0.5}]
        assert dropped == ("run 12: 1 of 2 complete trials left out: m: is required (1)",)

    def test_only_reasons_that_are_frequent_are_listed(self) -> None:
        names = "abcde"
        old = spec(dict.fromkeys(names, UNIT))
        new = spec(dict.fromkeys(names, UNIT | {"high": 0.5}))
        centre = dict.fromkeys(names, 0.25)
        trials = [complete(n, n, **(centre | {name: 1.0})) for n, name in enumerate(names)]
        _, dropped = mapped(old, new, *trials)
        assert dropped[0].endswith("c: must be within [0.0, 0.5] (1); and 2 more reasons")

    def test_what_breaks_a_constraint_is_left_out_if_that_is_known(self) -> None:
        old, new = spec(), spec(constraints=["size <= 1"])
        trials = [complete(n, n, x=n / 4) for n in range(3)]
        known = [
            Trial(t.number, t.params, t.state, t.value, metrics={"loss": t.value, "size": t.number})
            for t in trials
        ]
        params, dropped = mapped(old, new, *known)
        assert params == [{"x": 0.0}, {"x": 0.25}]
        assert dropped == ("run 12: 1 of 3 complete trials left out: a constraint is broken (1)",)
        params, dropped = mapped(old, new, *trials)
        assert (len(params), dropped) == (3, ())


class TestSelection:
    def test_the_others_are_far_from_all_before_them(self) -> None:
        values = {0.5: 1.0, 0.52: 2.0, 0.54: 3.0, 0.0: 4.0, 1.0: 5.0, 0.25: 6.0}
        trials = [complete(n, loss, x=x) for n, (x, loss) in enumerate(values.items())]
        chosen = select(spec().goal, Space.parse({"x": UNIT}), trials, 4)
        assert [trial.params["x"] for trial in chosen] == [0.5, 0.52, 0.0, 1.0]

    def test_of_one_configuration_the_best_trial_counts_in_its_place(self) -> None:
        rows = [(0.5, 1.0), (0.75, 2.0), (0.5, 3.0), (0.25, 4.0)]
        trials = [complete(n, loss, x=x) for n, (x, loss) in enumerate(rows)]
        chosen = select(spec().goal, Space.parse({"x": UNIT}), trials, 9)
        assert [trial.number for trial in chosen] == [0, 1, 3]

    def test_the_front_comes_first(self) -> None:
        goal = spec(objective=[LOSS, SIZE]).goal
        rows = [(1.0, 9.0), (2.0, 9.5), (3.0, 9.9), (4.0, 1.0)]
        trials = [
            Trial(n, {"x": n / 8}, TrialState.COMPLETE, loss, metrics={"size": size})
            for n, (loss, size) in enumerate(rows)
        ]
        chosen = select(goal, Space.parse({"x": UNIT}), trials, 3)
        assert [trial.number for trial in chosen[:2]] == [0, 3]


class TestFirstPoint:
    BASE = spec(
        {
            "lr": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log"},
            "units": {"type": "int", "low": 8, "high": 64, "step": 8},
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
            "momentum": UNIT | {"when": SGD},
        },
        fixed={"epochs": 5},
        initial_points=[
            {"lr": 0.1, "units": 8, "optimizer": "adam"},
            {"lr": 0.2, "units": 16, "optimizer": "adam"},
        ],
    )

    def test_it_is_tried_first_and_not_twice(self) -> None:
        champion = {"lr": 0.2, "units": 16, "optimizer": "adam", "epochs": 5}
        made, said = first_point(self.BASE, champion)
        assert said is None
        points = [dict(point) for point in made.initial_points]
        assert points == [
            {"lr": 0.2, "units": 16, "optimizer": "adam"},
            {"lr": 0.1, "units": 8, "optimizer": "adam"},
        ]
        step = engine.step(made, History(), 1)
        assert step.assignments[0].params == points[0]
        assert step.assignments[0].origin is Origin.INITIAL
        assert load(made.dump()) == made

    def test_it_goes_before_what_earlier_runs_advise(self) -> None:
        champion = {"lr": 0.5, "units": 64, "optimizer": "adam"}
        made, _ = first_point(self.BASE.model_copy(update={"initial_points": ()}), champion)
        told = Told(1, "nightly", 1.0, [complete(1, 0.0, lr=0.1, units=8, optimizer="adam")])
        history = History(earlier=Advice((told,)).earlier)
        found = [assignment.params for assignment in engine.step(made, history, 3).assignments]
        assert found[0] == champion
        assert found[2] == {"lr": 0.1, "units": 8, "optimizer": "adam"}

    @pytest.mark.parametrize(
        ("champion", "why"),
        [
            (
                {"lr": 2.0, "units": 16, "optimizer": "adam"},
                "lr: must be within [0.001, 1.0], got 2.0",
            ),
            (
                {"lr": 0.2, "units": 17, "optimizer": "adam"},
                "units: must be on a step of 8, got 17",
            ),
            ({"lr": 0.2, "units": 16, "optimizer": "sgd"}, "momentum: is required"),
            (
                {"lr": 0.2, "units": 16, "optimizer": "adam", "epochs": 9},
                "epochs: is fixed at 5, got 9",
            ),
            (
                {"lr": 0.2, "units": 16, "optimizer": "adam", "depth": 9},
                '"depth" is not a parameter of the space; known: lr, units, optimizer, momentum',
            ),
        ],
    )
    def test_what_is_no_configuration_any_more_is_not_tried(
        self, champion: dict[str, Any], why: str
    ) -> None:
        said = f"the champion's parameters are not tried: {why}"
        assert first_point(self.BASE, champion) == (self.BASE, said)

    def test_where_there_is_no_room_the_last_initial_point_goes(self) -> None:
        plain = self.BASE.dump() | {"limits": {"max_trials": 2}}
        made, said = first_point(load(plain), {"lr": 0.5, "units": 8, "optimizer": "adam"})
        assert said == "the last of initial_points gives way to the champion's parameters"
        assert [point["lr"] for point in made.initial_points] == [0.5, 0.1]
        engine.check(made)

    @given(made=specs(), seed=st.integers(0, 1_000))
    def test_any_configuration_of_the_space_is_tried_first(self, made: Spec, seed: int) -> None:
        champion = random_params(made.search_space, seed)
        changed, said = first_point(made, champion)
        assert said is None
        assert engine.step(changed, History(), 1).assignments[0].params == champion
