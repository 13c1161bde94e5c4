"""The rule of `auto`, that it is followed, and that what it chose is told."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import Direction
from hpo_lib.registry import SAMPLERS
from hpo_lib.samplers.auto import choose, chosen
from hpo_lib.search import engine, suggesting
from hpo_lib.search.optimizer import Optimizer
from hpo_lib.spec import load

FINITE = Space.parse({"n": {"type": "int", "low": 1, "high": 6}})
WIDE = Space.parse({"x": {"type": "float", "low": 0.0, "high": 1.0}})
CONDITIONAL = Space.parse(
    {
        "kind": {"type": "categorical", "choices": ["a", "b"]},
        "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["a"]}},
    }
)
ONE = Goal.of(Direction.MINIMIZE)
RICH = Goal.of(
    Direction.MINIMIZE, Direction.MAXIMIZE, constraints=[Constraint.parse("objective <= 3")]
)
LEARN = "later trials learn from earlier ones"


@pytest.mark.parametrize(
    ("space", "goal", "trials", "parallel", "fidelity", "expected"),
    [
        # One wave: nothing can be learned from.
        (FINITE, ONE, 6, 6, False, ("grid", "one wave of 6 trials holds all 6 configurations")),
        (FINITE, ONE, 9, 99, False, ("grid", "one wave of 9 trials holds all 6 configurations")),
        (
            *(FINITE, ONE, 5, 5, False),
            ("sobol", "all 5 trials start at once, so that none can learn from another"),
        ),
        (
            *(WIDE, RICH, 8, 8, True),
            ("sobol", "all 8 trials start at once, so that none can learn from another"),
        ),
        # More than one, or nobody knows.
        (FINITE, ONE, 6, 5, False, ("bayesian", LEARN)),
        (WIDE, ONE, None, None, False, ("bayesian", LEARN)),
        (WIDE, ONE, None, 4, False, ("bayesian", LEARN)),
        (WIDE, ONE, 10_000, 1, False, ("bayesian", LEARN)),
        (CONDITIONAL, ONE, 20, 4, False, ("bayesian", f"{LEARN}, and it models conditions")),
        (
            *(CONDITIONAL, RICH, 20, 4, True),
            (
                "bayesian",
                f"{LEARN}, and it models 2 objectives, constraints, conditions, values at less "
                "than the full resource",
            ),
        ),
    ],
)
def test_the_rule(
    space: Space,
    goal: Goal,
    trials: int | None,
    parallel: int | None,
    fidelity: bool,
    expected: tuple[str, str],
) -> None:
    found = choose(space, goal, trials=trials, parallel=parallel, fidelity=fidelity)
    assert found == expected
    assert found[0] in SAMPLERS


def _spec(**changes: Any) -> Any:
    base = {
        "name": "auto",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"n": {"type": "int", "low": 1, "high": 6}},
        "limits": {"max_trials": 6, "parallel_trials": 6},
        "trial": {"command": ["train"]},
    }
    return load(base | changes)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"max_trials": 6, "parallel_trials": 6}, "grid"),
        ({"max_trials": 4, "parallel_trials": 4}, "sobol"),
        ({"max_trials": 6, "parallel_trials": 2}, "bayesian"),
    ],
)
def test_a_run_is_searched_by_what_was_chosen(limits: dict[str, int], name: str) -> None:
    spec = _spec(limits=limits)
    assert chosen(spec)[0] == name
    open_, named = (
        suggesting.search(spec),
        suggesting.search(_spec(limits=limits, sampler={"name": name})),
    )
    assert type(open_.sampler) is type(named.sampler)


@pytest.mark.parametrize("parallel", [2, 4, 6])
def test_what_earlier_runs_advise_is_searched_by_what_learns_from_them(parallel: int) -> None:
    spec = _spec(limits={"max_trials": 6, "parallel_trials": parallel}, warm_start={})
    assert chosen(spec) == ("bayesian", "it learns from earlier runs")


def test_a_sampler_that_was_named_needs_no_reason() -> None:
    assert chosen(_spec(sampler={"name": "random"})) == ("random", None)


def test_the_seed_and_the_settings_are_those_of_the_chosen_sampler() -> None:
    spec = _spec(sampler={"seed": 5, "shuffle": True})
    named = _spec(sampler={"name": "grid", "seed": 5, "shuffle": True})
    found = [engine.step(one, engine.History(), 6).assignments for one in (spec, named)]
    assert found[0] == found[1]


def test_a_notebook_asks_the_same_as_with_the_sampler_named() -> None:
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    assert Optimizer(space).suggest(3) == Optimizer(space, "bayesian").suggest(3)
