"""What every sampler has to do; a subclass says which one by the fixture `sampler`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from hpo_lib import engine
from hpo_lib.goal import Goal
from hpo_lib.samplers import Sampler
from hpo_lib.space import Space, key
from hpo_lib.trial import Cause, Direction, History, Suggestion, Trial, TrialState

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


@dataclass(frozen=True)
class Recipe:
    """How to build a sampler; `finite` says that it can search nothing else."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    finite: bool = False

    def build(self, space: Space, seed: int = 0) -> Sampler:
        return engine.make_sampler(
            self.name, space, Goal.of(Direction.MAXIMIZE), seed=seed, settings=self.settings
        )


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
            for params in (dict(suggestion.params) for suggestion in suggestions):
                assert space.canonical(params) == params, kind
                assert json.loads(json.dumps(params)) == params, kind
                assert {type(value) for value in params.values()} <= {str, int, float, bool}, kind

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
        search = engine.Search(GRID, recipe.build(GRID), seed=0)
        history = History()
        for _ in range(12):
            suggestions = engine.suggest(search, history, 5)
            assert len(suggestions) == 5
            history = extend(history, suggestions)
        assert len({key(trial.params) for trial in history.trials}) == 60
        while suggestions := engine.suggest(search, history, 7):
            history = extend(history, suggestions)
        assert len({key(trial.params) for trial in history.trials}) == len(history.trials) == 80
        assert recipe.build(GRID).capacity([]) == 80
