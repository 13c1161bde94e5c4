"""The bayesian sampler: its processes are right, and it finds what has to be found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_contract import MIXED, complete, extend, failed

from hpo_lib import Optimizer
from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Direction, Earlier, History, Trial, TrialState
from hpo_lib.samplers import random_params
from hpo_lib.samplers.surrogate import outputs
from hpo_lib.samplers.surrogate.cube import Cube
from hpo_lib.samplers.surrogate.evidence import gather, known, subset
from hpo_lib.samplers.surrogate.forest import Forest
from hpo_lib.samplers.surrogate.gaussian import Process
from hpo_lib.search import suggesting

MINIMIZE = Goal.of(Direction.MINIMIZE)
UNIT = {"type": "float", "low": 0.0, "high": 1.0}


def build(space: Space, goal: Goal = MINIMIZE, seed: int = 0, **options: Any) -> Any:
    return suggesting.make_sampler("bayesian", space, goal, seed=seed, settings=options)


def sobol_history(count: int) -> History:
    sampler = suggesting.make_sampler("sobol", MIXED, MINIMIZE, seed=0, settings={})
    return extend(History(), sampler.suggest(History(), count))


def tune(
    space: Mapping[str, Any],
    loss: Callable[[Any], float],
    rounds: int,
    batch: int = 8,
    seed: int = 0,
) -> Optimizer:
    """Give an optimizer that has seen some batches."""
    optimizer = Optimizer(space, sampler="bayesian", seed=seed)
    for _ in range(rounds):
        for params in optimizer.suggest(batch):
            optimizer.observe(params, loss(params))
    return optimizer


def best(optimizer: Optimizer) -> tuple[dict[str, Any], float]:
    found = optimizer.best
    assert found is not None
    return found


class TestProcess:
    @pytest.fixture
    def cube(self) -> Cube:
        return Cube(MIXED)

    @pytest.fixture
    def features(self, cube: Cube) -> Any:
        return cube.features(cube.snap(np.random.default_rng(0).random((25, len(cube)))))

    @pytest.fixture
    def losses(self, features: Any) -> Any:
        noise = np.random.default_rng(1).normal(size=len(features))
        return outputs.standard(np.sin(5 * features[:, 0]) + features[:, -1] + 0.1 * noise)

    @pytest.mark.parametrize("warp", [False, True])
    def test_the_gradient_is_that_of_the_value(
        self, cube: Cube, features: Any, losses: Any, warp: bool
    ) -> None:
        process = Process(cube.layout, warp=warp)
        theta = process.theta + np.random.default_rng(2).normal(0, 0.3, len(process.theta))
        slope = process._objective(theta, features, losses)[1]
        for index, step in enumerate(1e-6 * np.eye(len(theta))):
            up, down = (process._objective(theta + s, features, losses)[0] for s in (step, -step))
            assert slope[index] == pytest.approx((up - down) / 2e-6, abs=1e-4)

    @pytest.mark.parametrize("warp", [False, True])
    def test_a_belief_is_an_observation_of_the_mean(
        self, cube: Cube, features: Any, losses: Any, warp: bool
    ) -> None:
        told, new, elsewhere = features[:15], features[15:18], features[18:]
        process, fresh = (Process(cube.layout, warp=warp) for _ in range(2))
        process.fit(told, losses[:15], (None, 20))
        process.condition(told, losses[:15])
        process.watch(elsewhere)
        means = process.mean(new)
        for feature in new:
            process.believe(feature)
        fresh.theta = process.theta
        fresh.condition(features[:18], np.append(losses[:15], means))
        for mean, variance in (process.predict(elsewhere), process.watched):
            expected_mean, expected_variance = fresh.predict(elsewhere)
            np.testing.assert_allclose(mean, expected_mean, atol=1e-6)
            np.testing.assert_allclose(variance, expected_variance, atol=1e-6)

    def test_it_predicts_what_it_was_told(self, cube: Cube, features: Any, losses: Any) -> None:
        process = Process(cube.layout, warp=True)
        process.fit(features, losses, (None, 40))
        process.condition(features, losses)
        mean, variance = process.predict(features)
        assert np.corrcoef(mean, losses)[0, 1] > 0.9
        assert (variance < 0.5).all()

    def test_of_several_starts_the_best_stays(self, cube: Cube, features: Any, losses: Any) -> None:
        def value(*starts: Any) -> float:
            process = Process(cube.layout, warp=False)
            process.fit(features, losses, *starts)
            return process._objective(process.theta, features, losses)[0]

        far = (Process(cube.layout, warp=False).drawn(np.random.default_rng(4)) + 2, 2)
        near = (None, 30)
        assert value(far) > value(near) + 0.1
        assert value(far, near) == value(near, far) == value(near)


def test_an_inactive_categorical_is_no_choice_of_it() -> None:
    """Of an odd number of choices the middle one is at 0.5, where inactive numbers are."""
    k = {"type": "categorical", "choices": ["x", "y", "z"], "when": {"m": ["a"]}}
    cube = Cube(Space.parse({"m": {"type": "categorical", "choices": ["a", "b"]}, "k": k}))
    configurations: list[Any] = [{"m": "b"}, {"m": "a", "k": "y"}]
    places = cube.places(configurations)
    assert [cube.params(place) for place in cube.snap(places)] == configurations
    for rows in (places, cube.snap(places)):
        inactive, middle = cube.features(rows)[:, 2:]
        assert len(set(inactive)) == 1
        assert sorted(middle)[:2] == [0, 0]
        assert not cube.chosen(cube.features(rows))[0, 2:].any()


class TestForest:
    def test_a_belief_settles_its_place_and_leaves_the_mean(self) -> None:
        rng = np.random.default_rng(0)
        features = rng.random((40, 3))
        losses = outputs.standard(features[:, 0] > 0.6) + 0.1 * rng.normal(size=40)
        forest = Forest(features, losses, seed=1)
        mean, variance = forest.predict(features)
        assert np.corrcoef(mean, losses)[0, 1] > 0.95
        forest.watch(features)
        forest.believe(features[7])
        np.testing.assert_array_equal(forest.watched[0], mean)
        ratio = forest.watched[1] / variance
        assert ratio[7] == ratio.min() < 0.3
        assert ratio.max() <= 1


class TestOutputs:
    @given(
        st.lists(
            st.one_of(
                st.floats(allow_nan=False, allow_infinity=False),
                st.sampled_from([0.0, 1e300, -1e300, 1e-300, 5e-324, 1.0, 1.0 + 1e-15]),
            ),
            min_size=1,
            max_size=30,
        )
    )
    def test_views_are_finite_standard_and_keep_the_order(self, values: list[float]) -> None:
        losses = np.array(values)
        for view in (outputs.power, outputs.ranks):
            seen = view(losses)
            assert np.isfinite(seen).all()
            assert abs(seen.mean()) < 1e-6
            assert seen.std() == pytest.approx(1.0) or (seen == 0).all()
            assert (np.diff(seen[np.argsort(losses, kind="stable")]) > -1e-9).all()

    def test_a_skewed_series_becomes_symmetric(self) -> None:
        losses = np.exp(np.random.default_rng(0).normal(0, 2, 200))
        seen = outputs.power(losses)
        assert abs(float((seen**3).mean())) < 0.5 < float((outputs.standard(losses) ** 3).mean())

    def test_what_no_two_trials_share_is_seen_as_it_is(self) -> None:
        losses = np.random.default_rng(0).normal(size=40)
        assert (outputs.tired(losses) == outputs.both(losses)).all()

    def test_a_plateau_loses_its_charm_with_every_trial_on_it(self) -> None:
        spread = np.linspace(0.6, 1.0, 30)
        seen = [
            outputs.tired(np.concatenate([np.full(shared, 0.5), spread]))[0]
            - outputs.both(np.concatenate([np.full(shared, 0.5), spread]))[0]
            for shared in (1, 2, 4, 8, 16)
        ]
        assert seen[:2] == [0.0, 0.0]
        assert seen[1:] == sorted(set(seen[1:]))

    def test_a_bad_loss_is_not_made_worse_by_company(self) -> None:
        losses = np.array([0.1, 0.2, 0.3, *[9.0] * 10])
        assert (outputs.tired(losses)[3:] == outputs.both(losses)[3:]).all()


class TestWhatItIsTold:
    def test_the_order_of_the_trials_does_not_matter(self) -> None:
        history = sobol_history(30)
        numbers = [trial.number for trial in history.trials]
        mixed = [
            Trial(n, t.params, t.state, t.value, t.cause)
            for n, t in zip(numbers, reversed(history.trials), strict=True)
        ]
        straight, turned = (build(MIXED).suggest(h, 4) for h in (history, History(tuple(mixed))))
        assert straight == turned

    def test_the_model_waits_for_its_initial_points_and_for_two_values(self) -> None:
        sobol = suggesting.make_sampler("sobol", MIXED, MINIMIZE, seed=0, settings={})
        sampler, history = build(MIXED, initial=8), sobol_history(6)
        assert sampler.blind == 8
        mixed = sampler.suggest(history, 4)
        assert mixed[:2] == sobol.suggest(history, 2)
        assert mixed[2:] != sobol.suggest(history, 4)[2:]
        running = History(tuple(Trial(t.number, t.params) for t in sobol_history(20).trials))
        assert sampler.suggest(running, 3) == sobol.suggest(running, 3)

    def test_a_failure_drives_the_model_away(self) -> None:
        space = Space.parse({"x": UNIT})
        trials = [
            failed(n, {"x": x}) if x > 0.5 else complete(n, {"x": x}, 1 - x / 10)
            for n, x in enumerate((i / 11 for i in range(12)), 1)
        ]
        suggestions = build(space, initial=5).suggest(History(tuple(trials)), 3)
        assert sum(suggestion.params["x"] < 0.62 for suggestion in suggestions) >= 2

    def test_trials_under_way_are_not_crowded(self) -> None:
        space = Space.parse({"x": UNIT})
        places = [0.0, 0.1, 0.3, 0.7, 0.9, 1.0]
        trials = [complete(n, {"x": x}, (x - 0.5) ** 2) for n, x in enumerate(places, 1)]
        sampler = build(space, initial=2)
        (wanted,) = sampler.suggest(History(tuple(trials)), 1)
        under_way = History((*trials, Trial(7, wanted.params)))
        batch = [wanted, *sampler.suggest(under_way, 2)]
        places = sorted(float(suggestion.params["x"]) for suggestion in batch)
        assert min(right - left for left, right in itertools.pairwise(places)) > 0.01

    def test_of_many_trials_the_best_half_is_kept(self) -> None:
        losses = np.random.default_rng(0).random(3_000)
        kept = subset(losses, 500)
        assert len(set(kept)) == 500
        assert set(np.argsort(losses)[:250]) <= set(kept)

    def test_thousands_of_trials_still_get_an_answer(self) -> None:
        trials = []
        for number in range(1, 3_001):
            params = random_params(MIXED, 5, number)
            trials.append(complete(number, params, math.log10(float(params["lr"])) ** 2))
        batch = build(MIXED).suggest(History(tuple(trials)), 8)
        assert len({key(suggestion.params) for suggestion in batch}) == 8

    def test_many_choices_and_many_parameters_are_modelled(self) -> None:
        space = Space.parse(
            {
                "many": {"type": "categorical", "choices": list(range(2_000))},
                "word": {"type": "categorical", "choices": [f"w{i}" for i in range(300)]},
                "letter": {"type": "categorical", "choices": [f"l{i}" for i in range(300)]},
                **{f"x{i}": UNIT for i in range(30)},
            }
        )
        random = suggesting.make_sampler("random", space, MINIMIZE, seed=0, settings={})
        history = extend(History(), random.suggest(History(), 30))
        assert len(build(space).suggest(history, 2)) == 2


class TestWhatItFinds:
    """Each far beyond what as many random points would find."""

    def test_an_optimum_on_bounds(self) -> None:
        space = dict.fromkeys("abcd", UNIT)
        params, loss = best(tune(space, lambda p: p["a"] + p["b"] - p["c"] - p["d"], 8))
        assert loss == pytest.approx(-2, abs=0.02), params

    def test_a_single_category(self) -> None:
        space = {
            "word": {"type": "categorical", "choices": [f"w{i}" for i in range(20)]},
            "x": UNIT,
        }
        found = tune(space, lambda p: (p["x"] - 0.3) ** 2 - (p["word"] == "w13"), 8)
        params, loss = best(found)
        assert params["word"] == "w13"
        assert loss < -0.999

    def test_a_choice_is_made_though_none_has_mattered_so_far(self) -> None:
        words = [f"w{i}" for i in range(20)]
        space = {"word": {"type": "categorical", "choices": words}, "x": UNIT}
        for seed in range(3):
            found = tune(space, lambda p: (p["x"] - 0.3) ** 2, 8, seed=seed)
            assert {trial.params["word"] for trial in found.trials} == set(words)

    def test_a_narrow_valley_on_a_log_scale(self) -> None:
        rate = {"type": "float", "low": 1e-6, "high": 1.0, "scale": "log"}

        def loss(params: Any) -> float:
            return float(math.log10(params["rate"] / 3e-4) ** 2 + (params["x"] - 0.7) ** 2)

        params, value = best(tune({"rate": rate, "x": UNIT}, loss, 8))
        assert params["rate"] == pytest.approx(3e-4, rel=0.05)
        assert value < 1e-3

    def test_what_lies_behind_a_condition(self) -> None:
        space = {
            "kind": {"type": "categorical", "choices": ["a", "b", "c", "d"]},
            **{f"of_{kind}": {**UNIT, "when": {"kind": [kind]}} for kind in "abcd"},
        }

        def loss(params: Any) -> float:
            kind = params["kind"]
            depth = {"a": 0.5, "b": 0.6, "c": 1.0, "d": 0.4}[kind]
            return float(4 * abs(params[f"of_{kind}"] - 0.85) - depth)

        params, value = best(tune(space, loss, 8))
        assert params["kind"] == "c"
        assert value < -0.97

    def test_twenty_parameters_that_do_nothing_do_no_harm(self) -> None:
        space = {"x": UNIT, "y": UNIT, **{f"idle{i}": UNIT for i in range(20)}}
        found = tune(space, lambda p: (p["x"] - 0.2) ** 2 + (p["y"] - 0.8) ** 2, 10)
        assert best(found)[1] < 2e-3

    def test_a_small_space_is_used_up_without_a_repeat(self) -> None:
        space = {
            "k": {"type": "int", "low": 1, "high": 5},
            "b": {"type": "categorical", "choices": [True, False]},
        }
        found = tune(space, lambda p: float(p["k"]), 2, batch=5)
        assert len({key(trial.params) for trial in found.trials}) == 10
        assert found.suggest(1) == []


def pursue(
    goal: Goal, outcome: Callable[[float, float], tuple[float, dict[str, float]]], rounds: int
) -> History:
    """Give the history of batches of 6 over the unit square; `outcome` gives value and metrics."""
    space = Space.parse({"x": UNIT, "y": UNIT})
    search = suggesting.Search(space, build(space, goal), 0)
    trials: list[Trial] = []
    for _ in range(rounds):
        for suggestion in suggesting.suggest(search, History(tuple(trials)), 6):
            x, y = (float(suggestion.params[name]) for name in "xy")
            value, metrics = outcome(x, y)
            number = len(trials) + 1
            trials.append(
                Trial(number, suggestion.params, TrialState.COMPLETE, value, metrics=metrics)
            )
    return History(tuple(trials))


class TestGoals:
    def test_a_front_is_covered_from_end_to_end(self) -> None:
        goal = Goal((("near", Direction.MINIMIZE), ("far", Direction.MAXIMIZE)))

        def outcome(x: float, y: float) -> tuple[float, dict[str, float]]:
            return x**2 + (y - 0.5) ** 2, {"far": -((x - 1) ** 2) - (y - 0.5) ** 2}

        front = goal.front(pursue(goal, outcome, 8).trials)
        xs = sorted(float(trial.params["x"]) for trial in front)
        assert len(front) >= 10
        assert xs[0] < 0.15
        assert xs[-1] > 0.85

    def test_a_constraint_is_learnt(self) -> None:
        goal = Goal((("loss", Direction.MINIMIZE),), (Constraint.parse("size <= 0.5"),))
        history = pursue(goal, lambda x, y: (-x - y, {"size": x * y}), 6)
        found = goal.best(history.trials)
        assert found is not None
        assert found.value is not None
        assert found.value < -1.48  # The best that keeps x * y <= 0.5 is -1.5, at a corner.


class TestAdvice:
    SPACE = Space.parse({"x": UNIT, "y": UNIT})

    def loss(self, x: float, y: float) -> float:
        return (x - 0.73) ** 2 + (y - 0.21) ** 2

    def earlier(self, sign: float = 1.0) -> Earlier:
        points = [random_params(self.SPACE, 9, n) for n in range(60)]
        trials = [
            complete(n, p, 100 + sign * self.loss(float(p["x"]), float(p["y"])))
            for n, p in enumerate(points, 1)
        ]
        return Earlier(tuple(trials))

    def after(self, earlier: tuple[Earlier, ...], count: int) -> float:
        """Give the best loss after so many trials, two at a time."""
        trials: list[Trial] = []
        search = suggesting.Search(self.SPACE, build(self.SPACE, initial=4), 0)
        while len(trials) < count:
            for suggestion in suggesting.suggest(
                search, History(tuple(trials), earlier=earlier), 2
            ):
                x, y = (float(suggestion.params[name]) for name in "xy")
                trials.append(complete(len(trials) + 1, suggestion.params, self.loss(x, y)))
        return min(trial.value for trial in trials if trial.value is not None)

    def test_an_earlier_run_helps_at_once(self) -> None:
        assert self.after((self.earlier(),), 6) < 1e-2 < self.after((), 6)

    def test_an_earlier_run_of_the_opposite_does_not_mislead_for_long(self) -> None:
        assert self.after((self.earlier(sign=-1.0),), 24) < 5e-3

    def test_lower_rungs_tell_before_the_full_resource_does(self) -> None:
        trials = []
        for number in range(1, 17):
            params = random_params(self.SPACE, 3, number)
            value = self.loss(float(params["x"]), float(params["y"]))
            trials.append(
                Trial(number, params, TrialState.FAILED, rungs={1.0: value + 0.1, 3.0: value})
            )
        history = History(tuple(trials))
        assert known(history, MINIMIZE)
        evidence = gather(history, MINIMIZE, Cube(self.SPACE))
        assert evidence.losses.min() == min(trial.rungs[3.0] for trial in trials)
        assert len(evidence.sources) == 1
        suggestions = build(self.SPACE).suggest(history, 6)
        assert min(self.loss(**s.params) for s in suggestions) < min(t.rungs[3.0] for t in trials)


@settings(deadline=None)
@given(data=st.data())
def test_it_lives_with_any_values(data: st.DataObject) -> None:
    values = data.draw(
        st.lists(
            st.one_of(
                st.none(), st.sampled_from([0.0, 1e300, -1e300, 1e-300, math.nan, math.inf, 1.0])
            ),
            min_size=1,
            max_size=14,
        )
    )
    optimizer = Optimizer(MIXED, sampler="bayesian", seed=3, initial=2)
    for number, value in enumerate(values):
        optimizer.observe(random_params(MIXED, 1, number), value)
    batch = optimizer.suggest(3)
    assert len({key(params) for params in batch}) == 3
