"""What every sampler has to do; a subclass says which one by the fixture `sampler`."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_space import spaces

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Cause, Direction, History, Suggestion, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.samplers import Sampler
from hpo_lib.search import suggesting

#: 80 configurations: 4 x 4 x (1 x 2 + 1 x 3).
GRID = Space.parse(
    {
        "units": {"type": "int", "low": 32, "high": 128, "step": 32},
        "drop": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        "batch": {"type": "ordinal", "choices": [8, 16], "when": {"optimizer": ["adam"]}},
        "nesterov": {
            "type": "categorical",
            "choices": [True, 0, "no"],
            "when": {"optimizer": ["sgd"]},
        },
    }
)
MIXED = Space.parse(
    {
        "lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "rms"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": ["sgd"]}},
        "depth": {"type": "int", "low": 1, "high": 10**9, "scale": "log"},
        "batch": {"type": "ordinal", "choices": [8, 16, 32]},
    }
)


MAXIMIZE = Goal.of(Direction.MAXIMIZE)


@dataclass(frozen=True)
class Recipe:
    """How to build a sampler; it can search only finite spaces, or pursue only one objective."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    finite: bool = False
    single: bool = False

    def build(self, space: Space, seed: int = 0, goal: Goal = MAXIMIZE) -> Sampler:
        return suggesting.make_sampler(self.name, space, goal, seed=seed, settings=self.settings)


def complete(number: int, params: Any, value: float) -> Trial:
    return Trial(number, params, TrialState.COMPLETE, value, duration_s=1.0)


def failed(number: int, params: Any, cause: Cause = Cause.OUT_OF_MEMORY) -> Trial:
    return Trial(number, params, TrialState.FAILED, cause=cause, reason=str(cause))


def score(params: Any) -> float:
    """Give some value that depends on every parameter."""
    return math.fsum(len(name) * len(str(value)) for name, value in params.items())


def extend(history: History, suggestions: list[Suggestion]) -> History:
    """Complete what was suggested, apart from every fifth, which fails."""
    trials = list(history.trials)
    for suggestion in suggestions:
        number = len(trials) + 1
        made = failed(number, suggestion.params)
        if number % 5:
            made = complete(number, suggestion.params, score(suggestion.params))
        trials.append(made)
    return History(tuple(trials))


def check_suggestions(space: Space, suggestions: Sequence[Suggestion], about: object = "") -> None:
    """Check that they are canonical and of builtin types, and so survive JSON."""
    for params in (dict(suggestion.params) for suggestion in suggestions):
        assert space.canonical(params) == params, about
        assert json.loads(json.dumps(params)) == params, about
        assert {type(value) for value in params.values()} <= {str, int, float, bool, list}, about


_OUTCOMES = st.sampled_from(
    [TrialState.RUNNING, TrialState.FAILED, 0.0, 1.0, -2.5, 1e300, -1e300, 1e-300, 5e-324]
) | st.floats(allow_nan=False, allow_infinity=False)
_ROWS = st.tuples(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4), _OUTCOMES)


def outcome(number: int, params: Any, result: float | TrialState) -> Trial:
    """Make a trial with this value, or in this state."""
    if result is TrialState.RUNNING:
        return Trial(number, params)
    return (
        failed(number, params)
        if isinstance(result, TrialState)
        else complete(number, params, result)
    )


class SamplerContract:
    """The tests; each runs on the 80-point grid and, unless `finite`, on a continuous space."""

    @pytest.fixture
    def recipe(self) -> Recipe:
        raise NotImplementedError

    @pytest.fixture(params=[GRID, MIXED], ids=["grid", "mixed"])
    def space(self, request: pytest.FixtureRequest, recipe: Recipe) -> Space:
        if request.param is MIXED and recipe.finite:
            pytest.skip("searches finite spaces only")
        return request.param

    @pytest.fixture
    def histories(self, space: Space) -> dict[str, History]:
        """Histories of every kind that a sampler has to live with."""
        some = [Suggestion(space.from_unit([u] * len(space))) for u in (0.05, 0.3, 0.6, 0.8, 0.95)]
        params = [suggestion.params for suggestion in some]
        flat = [complete(number, p, 1.0) for number, p in enumerate(params, 1)]
        wild = [complete(n, p, 10.0 ** (60 * n)) for n, p in enumerate(params, 1)]
        return {
            "empty": History(),
            "mixed": extend(extend(History(), some), []),
            "one": History((complete(1, params[0], 1.0),)),
            "all failed": History(tuple(failed(n, p) for n, p in enumerate(params, 1))),
            "all running": History(tuple(Trial(n, p) for n, p in enumerate(params, 1))),
            "flat": History(tuple(flat)),
            "wild": History(tuple(wild)),
            "some running": History((*flat[:2], *(Trial(n, params[n - 1]) for n in (3, 4, 5)))),
            "not finite": History(
                (
                    *wild[:2],
                    failed(3, params[2], Cause.OBJECTIVE_NOT_FINITE),
                    failed(4, params[3], Cause.OBJECTIVE_MISSING),
                )
            ),
            "twice": History((*flat, *(Trial(n + 5, p) for n, p in enumerate(params, 1)))),
        }

    def test_suggestions_are_canonical_and_builtin_whatever_the_history(
        self, recipe: Recipe, space: Space, histories: dict[str, History]
    ) -> None:
        for kind, history in histories.items():
            suggestions = recipe.build(space).suggest(history, 3)
            assert len(suggestions) == 3, kind
            check_suggestions(space, suggestions, kind)

    def test_inactive_parameters_are_absent(self, recipe: Recipe, space: Space) -> None:
        for suggestion in recipe.build(space).suggest(History(), 20):
            for name in space.parameters:
                assert (name in suggestion.params) == space.is_active(name, suggestion.params)

    def test_the_same_history_gets_the_same_answer(
        self, recipe: Recipe, space: Space, histories: dict[str, History]
    ) -> None:
        for kind, history in histories.items():
            first, again = (recipe.build(space, 7).suggest(history, 2) for _ in range(2))
            assert first == again, kind

    def test_a_used_sampler_answers_like_a_new_one(self, recipe: Recipe, space: Space) -> None:
        sampler = recipe.build(space)
        history = extend(History(), sampler.suggest(History(), 12))
        assert sampler.suggest(history, 2) == recipe.build(space).suggest(history, 2)

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_the_count_is_honoured(self, recipe: Recipe, space: Space, count: int) -> None:
        history = extend(History(), recipe.build(space).suggest(History(), 11))
        assert len(recipe.build(space).suggest(history, count)) == count

    def test_no_configuration_comes_twice_until_all_were_tried(self, recipe: Recipe) -> None:
        search = suggesting.Search(GRID, recipe.build(GRID), seed=0)
        history = History()
        for _ in range(12):
            suggestions = suggesting.suggest(search, history, 5)
            assert len(suggestions) == 5
            history = extend(history, suggestions)
        assert len({key(trial.params) for trial in history.trials}) == 60
        while suggestions := suggesting.suggest(search, history, 7):
            history = extend(history, suggestions)
        assert len({key(trial.params) for trial in history.trials}) == len(history.trials) == 80
        assert recipe.build(GRID).configurations([]) == 80

    def test_the_order_in_which_trials_are_listed_does_not_matter(
        self, recipe: Recipe, space: Space, histories: dict[str, History]
    ) -> None:
        for kind, history in histories.items():
            turned = History(tuple(reversed(history.trials)))
            sampler = recipe.build(space)
            assert sampler.suggest(turned, 2) == sampler.suggest(history, 2), kind

    def test_constraints_are_lived_with(self, recipe: Recipe, space: Space) -> None:
        goal = Goal.of(
            Direction.MINIMIZE, constraints=[Constraint.parse("cost <= 3"), _kept("memory")]
        )
        sampler = recipe.build(space, goal=goal)
        plain = extend(History(), sampler.suggest(History(), 14))
        costs = {"none feasible": 1e300, "some feasible": 0.0, "all feasible": -1e300}
        for kind, cost in costs.items():
            trials = [_measured(trial, cost + trial.number * (cost == 0)) for trial in plain.trials]
            # What lacks a metric of a constraint exceeds it without end.
            trials[-1] = replace(trials[-1], metrics={})
            history = History(tuple(trials))
            suggestions = sampler.suggest(history, 3)
            check_suggestions(space, suggestions, kind)
            assert suggestions == recipe.build(space, goal=goal).suggest(history, 3)

    def test_several_objectives_are_pursued_or_refused(self, recipe: Recipe, space: Space) -> None:
        goal = Goal.of(Direction.MAXIMIZE, Direction.MINIMIZE)
        if recipe.single:
            with pytest.raises(SpecError) as caught:
                recipe.build(space, goal=goal)
            said = f"sampler {recipe.name} takes one objective, got 2: objective, objective_2"
            assert str(caught.value) == said
            return
        sampler = recipe.build(space, goal=goal)
        plain = extend(History(), sampler.suggest(History(), 14))
        trials = [
            replace(trial, metrics={"objective_2": 10.0 ** (50 * (trial.number % 7) - 150)})
            for trial in plain.trials
        ]
        history = History(
            (*trials[:-1], replace(trials[-1], metrics={}), Trial(15, {**trials[0].params}))
        )
        suggestions = sampler.suggest(history, 3)
        assert len(suggestions) == 3
        check_suggestions(space, suggestions)

    @given(space=spaces(), rows=st.lists(_ROWS, max_size=12), seed=st.integers(0, 2**32 - 1))
    @settings(
        max_examples=settings.default.max_examples // 15,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    def test_any_space_and_history_is_lived_with(
        self, recipe: Recipe, space: Space, rows: list[Any], seed: int
    ) -> None:
        try:
            sampler = recipe.build(space, seed)
        except SpecError:
            assert recipe.finite
            return
        trials = [
            outcome(number, space.from_unit(point[: len(space)]), result)
            for number, (point, result) in enumerate(rows, 1)
        ]
        used = {key(trial.params) for trial in trials}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            suggestions = suggesting.suggest(
                suggesting.Search(space, sampler, seed), History(tuple(trials)), 3
            )
        check_suggestions(space, suggestions)
        fresh = {key(suggestion.params) for suggestion in suggestions}
        left = 3 if space.size is None else space.size - len(used)
        assert len(fresh) == len(suggestions) == min(3, left)
        assert not fresh & used


def _kept(metric: str) -> Constraint:
    return Constraint.parse(f"{metric} <= 8")


def _measured(trial: Trial, cost: float) -> Trial:
    return replace(trial, metrics={"cost": cost, "memory": 1.0})
