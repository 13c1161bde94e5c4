"""Differential and regularised evolution keep the contract, and do as their papers say."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from sampler_contract import GRID, MIXED, Recipe, SamplerContract, complete, failed

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Direction, History, Trial, TrialState
from hpo_lib.samplers.mutation import mutated
from hpo_lib.search import suggesting

MINIMIZE = Goal.of(Direction.MINIMIZE)
PLANE = Space.parse({name: {"type": "float", "low": -5.0, "high": 5.0} for name in "xyz"})


class TestDe(SamplerContract):
    name = "de"

    @pytest.fixture(params=["rand1", "current_to_best1"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("de", {"population": 4, "strategy": request.param}, single=True)


class TestEvolution(SamplerContract):
    name = "evolution"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("evolution", {"population": 4, "tournament": 2}, single=True)


def build(name: str, space: Space, **settings: Any) -> Any:
    return suggesting.make_sampler(name, space, MINIMIZE, seed=1, settings=settings)


def distance(params: Any) -> float:
    return math.fsum((value - 1.0) ** 2 for value in params.values())


def searched(name: str, trials: int, **settings: Any) -> list[Trial]:
    """Run a search of which the newest trial is always under way."""
    sampler, history = build(name, PLANE, **settings), list[Trial]()
    for number in range(1, trials + 1):
        (asked,) = sampler.suggest(History(tuple(history)), 1)
        if history:
            last = history[-1]
            history[-1] = complete(last.number, last.params, distance(last.params))
        history.append(Trial(number, asked.params))
    return history[:-1]


@pytest.mark.parametrize("name", ["de", "evolution"])
def test_it_learns_while_trials_run(name: str) -> None:
    losses = [trial.value or 0.0 for trial in searched(name, 100)]
    assert min(losses[50:]) < 0.2 * min(losses[:20])


def test_a_child_of_de_competes_with_the_best_of_its_own_place() -> None:
    sampler = build("de", PLANE, population=4)
    params = [PLANE.from_unit([unit] * 3) for unit in (0.1, 0.3, 0.5, 0.7, 0.9, 0.2)]
    trials = [complete(n, one, float(n)) for n, one in enumerate(params, 1)]
    places = sampler._members(History(tuple(trials)))
    units = {n: PLANE.to_unit(params[n - 1]) for n in range(1, 7)}
    assert places == {1: units[1], 2: units[2], 3: units[3], 0: units[4]}, "5 and 6 are worse"
    trials[4] = complete(5, params[4], 0.5)
    trials[5] = failed(6, params[5])
    assert sampler._members(History(tuple(trials)))[1] == units[5]


def test_a_place_of_de_is_anywhere_where_a_choice_is_itself() -> None:
    sampler = build("de", GRID, population=4)
    point = GRID.grid[17]
    places = [sampler._place(complete(number, point, 1.0)) for number in range(1, 60)]
    assert all(GRID.from_unit(place) == point for place in places)
    assert len({place[0] for place in places}) > 50, "the population keeps its variety"


def test_the_parent_is_young() -> None:
    """The best trial of all is older than the population, and has no more children."""
    sampler = build("evolution", PLANE, population=5, tournament=50)
    old = complete(1, PLANE.from_unit([0.0] * 3), -1e9)
    young = [complete(n, PLANE.from_unit([0.5 + n / 100] * 3), float(n)) for n in range(2, 7)]
    for suggestion in sampler.suggest(History((old, *young)), 10):
        same = [name for name in "xyz" if suggestion.params[name] == young[0].params[name]]
        assert len(same) == 2, "one change of the best young trial"


def test_a_mutation_changes_one_parameter_and_draws_what_that_makes_active() -> None:
    draw = Random(3)
    parent = MIXED.canonical({"lr": 0.01, "optimizer": "adam", "depth": 5, "batch": 16})
    seen: set[str] = set()
    for _ in range(200):
        child = mutated(MIXED, parent, draw)
        assert MIXED.canonical(child) == child
        changed = {name for name in parent if child[name] != parent[name]}
        assert len(changed) == 1
        assert ("momentum" in child) == (child["optimizer"] == "sgd")
        seen |= changed
    assert seen == set(parent)


def test_a_space_of_one_configuration_is_lived_with() -> None:
    space = Space.parse({"x": {"type": "categorical", "choices": ["a"]}})
    for name in ("de", "evolution"):
        history = History(tuple(complete(n, {"x": "a"}, 1.0) for n in range(1, 40)))
        assert build(name, space).suggest(history, 1)[0].params == {"x": "a"}


def test_a_trial_that_waits_at_a_rung_is_no_member_of_the_population_of_de() -> None:
    waits = replace(complete(1, PLANE.from_unit([0.5] * 3), 1.0), state=TrialState.WAITING)
    history = History((replace(waits, value=None),))
    assert build("de", PLANE)._members(history) == {}
    assert key(build("de", PLANE).suggest(history, 1)[0].params)
