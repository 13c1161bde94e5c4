"""Lists of blocks: ordinary parameters for samplers, one list for programs; how they evolve."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from factories import SPEC
from hypothesis import given
from hypothesis import strategies as st
from sampler_contract import complete

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import Direction, History, Trial
from hpo_lib.errors import SpecError
from hpo_lib.samplers.mutation import mutated
from hpo_lib.search import suggesting
from hpo_lib.search.optimizer import Optimizer
from hpo_lib.spec import load
from hpo_lib.spec.command_line import preview
from hpo_lib.spec.outline import Outline
from hpo_lib.spec.yaml_file import from_yaml

ROOT = Path(__file__).parents[2]
BLOCKS: dict[str, Any] = {
    "type": "list",
    "length": {"low": 1, "high": 3},
    "of": {
        "filters": {"type": "ordinal", "choices": [8, 16, 32]},
        "kind": {"type": "categorical", "choices": ["conv", "pool"]},
        "kernel": {"type": "int", "low": 1, "high": 5, "when": {"kind": ["conv"]}},
    },
}
RATE = {"type": "float", "low": 0.0, "high": 1.0}
SPACE = Space.parse({"blocks": BLOCKS, "rate": RATE})
TWO = [{"filters": 8, "kind": "pool"}, {"filters": 32, "kind": "conv", "kernel": 3}]


def test_a_list_is_a_length_and_the_parameters_of_its_blocks() -> None:
    params = SPACE.canonical({"rate": 0.5, "blocks": TWO})
    assert params == {
        "blocks.length": 2,
        "blocks.1.filters": 8,
        "blocks.1.kind": "pool",
        "blocks.2.filters": 32,
        "blocks.2.kind": "conv",
        "blocks.2.kernel": 3,
        "rate": 0.5,
    }
    assert SPACE.nested(params) == {"blocks": TWO, "rate": 0.5}
    assert SPACE.canonical(params) == params


@given(st.lists(st.floats(0.0, 1.0), min_size=len(SPACE), max_size=len(SPACE)))
def test_a_list_comes_back(point: list[float]) -> None:
    params = SPACE.from_unit(point)
    whole: Any = SPACE.nested(params)
    assert len(whole["blocks"]) == params["blocks.length"]
    assert all(("kernel" in one) == (one["kind"] == "conv") for one in whole["blocks"])
    assert SPACE.canonical(json.loads(json.dumps(whole))) == params


def test_a_list_may_depend_on_others_and_have_one_length_or_none() -> None:
    fixed = {**BLOCKS, "length": {"low": 2, "high": 2}, "when": {"kind": ["conv"]}}
    kinds = {"type": "categorical", "choices": ["conv", "dense"]}
    space = Space.parse({"kind": kinds, "blocks": fixed})
    assert space.canonical({"kind": "dense"}) == {"kind": "dense"}
    assert space.nested({"kind": "dense"}) == {"kind": "dense"}
    assert space.nested(space.canonical({"kind": "conv", "blocks": TWO}))["blocks"] == TWO
    empty = Space.parse({"blocks": {**BLOCKS, "length": {"low": 0, "high": 1}}})
    assert empty.nested(empty.canonical({"blocks": []})) == {"blocks": []}


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"blocks": [1], "rate": 0.5}, "blocks: must be a list of mappings, got [1]"),
        ({"blocks": TWO * 2, "rate": 0.5}, "blocks.length: must be within [1, 3], got 4"),
        ({"blocks": [{"kind": "pool"}], "rate": 0.5}, "blocks.1.filters: is required"),
        ({"rate": 0.5}, "blocks.length: is required"),
    ],
)
def test_a_wrong_list_is_refused(params: dict[str, Any], problem: str) -> None:
    result: dict[str, Any] = {}
    assert problem in list(SPACE.problems(params, result))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"length": {"low": 3, "high": 2}}, "low must be <= high, got low=3, high=2"),
        ({"length": {"low": 1, "high": 51}}, "high: must be less than or equal to 50"),
        ({"of": {}}, "of must hold at least one parameter, got {}"),
        ({"of": {"x": {**RATE, "when": {"y": [1]}}}}, "unknown parameter"),
        ({"of": {"x": BLOCKS}}, "type"),
        ({"length": {"low": 1, "high": 50}, "of": dict.fromkeys("abcde", RATE)}, "at most 200"),
    ],
)
def test_a_wrong_type_of_list_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        Space.parse({"blocks": {**BLOCKS, **change}})
    assert problem in str(caught.value)


def test_a_program_has_the_list_in_one_piece_and_a_report_its_parameters() -> None:
    spec = load({**SPEC, "space": {"blocks": BLOCKS}, "initial_points": [{"blocks": TWO}]})
    assert load(spec.dump()) == spec
    params = spec.search_space.canonical(spec.initial_points[0])
    made = preview(spec, Trial(1, params))
    told = next(word for word in made.command if word.startswith("--blocks="))
    assert json.loads(told.partition("=")[2]) == TWO
    assert json.loads(made.env["HPO_PARAMS"])["blocks"] == TWO
    assert set(params) <= set(Outline.of(spec.dump()).space)


def test_a_notebook_is_given_and_gives_lists() -> None:
    optimizer = Optimizer({"blocks": BLOCKS}, sampler="random")
    (params,) = optimizer.suggest()
    assert isinstance(params["blocks"], list)
    optimizer.observe(params, 1.0)
    assert optimizer.best is not None
    assert optimizer.best[0] == params


def test_a_mutation_adds_removes_or_changes_one_block() -> None:
    draw = Random(5)
    parent = SPACE.canonical({"rate": 0.5, "blocks": TWO})
    kinds: set[str] = set()
    for _ in range(200):
        child = mutated(SPACE, parent, draw)
        assert SPACE.canonical(child) == child
        whole: Any = SPACE.nested(child)
        blocks = whole["blocks"]
        if whole["rate"] != 0.5:
            assert blocks == TWO
            kinds.add("rate")
        elif len(blocks) == 2:
            assert sum(one != two for one, two in zip(blocks, TWO, strict=True)) == 1
            kinds.add("changed")
        elif len(blocks) == 1:
            assert blocks[0] in TWO
            kinds.add(f"removed {TWO.index(blocks[0])}")
        else:
            left = [at for at in range(3) if blocks[:at] + blocks[at + 1 :] == TWO]
            assert left, "the others stay as they are, in their order"
            kinds.add(f"added {left[0]}")
    assert kinds == {
        *("rate", "changed", "removed 0", "removed 1", "added 0", "added 1", "added 2")
    }


@pytest.mark.parametrize("name", ["evolution", "de"])
def test_samplers_search_lists(name: str) -> None:
    goal = Goal.of(Direction.MINIMIZE)
    sampler = suggesting.make_sampler(name, SPACE, goal, seed=0, settings={})
    trials: list[Trial] = []
    for number in range(1, 61):
        (asked,) = sampler.suggest(History(tuple(trials)), 1)
        whole: Any = SPACE.nested(asked.params)
        loss = abs(sum(one["filters"] for one in whole["blocks"]) - 48) + whole["rate"]
        trials.append(complete(number, SPACE.canonical(whole), loss))
    assert min(trial.value or 0.0 for trial in trials) < 3.0


def test_the_example_searches_an_architecture() -> None:
    text = (ROOT / "config" / "experiments" / "digits-architecture.yaml").read_text("utf-8")
    spec = from_yaml(text)
    assert spec.sampler.name == "evolution"
    assert list(spec.search_space.lists) == ["blocks"]
