"""The search space: canonical form, unit cube, grid, conditions, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hpo_lib.core.space import Space, key
from hpo_lib.core.values import same, told_apart
from hpo_lib.errors import SpecError

MIXED = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
    "beta": {"type": "float", "low": 0.9, "high": 0.9999, "scale": "reverse_log"},
    "shift": {"type": "float", "low": -3.0, "high": 5.0},
    "drop": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    "units": {"type": "int", "low": 32, "high": 500, "step": 32},
    "depth": {"type": "int", "low": 1, "high": 1000, "scale": "log"},
    "batch": {"type": "ordinal", "choices": [8, 16, 32.5]},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd", True, 1]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd", True]}},
    "nesterov": {"type": "categorical", "choices": [True, False], "when": {"optimizer": ["sgd"]}},
}

_FINITE = st.floats(-1e12, 1e12, allow_nan=False)


@st.composite
def floats(draw: st.DrawFn) -> dict[str, Any]:
    scale = draw(st.sampled_from(["linear", "log", "reverse_log"]))
    ends = {
        "linear": _FINITE,
        "log": st.floats(1e-30, 1e30),
        "reverse_log": st.floats(0.0, 0.999999),
    }[scale]
    low, high = sorted([draw(ends), draw(ends)])
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    return {"type": "float", "low": low, "high": high, "scale": scale}


@st.composite
def stepped(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-1000, 1000)) / 100
    step = draw(st.sampled_from([0.001, 0.05, 0.1, 0.25, 1 / 3, 1.0, 7.5]))
    high = low + step * draw(st.floats(1.0, 50.0))
    return {"type": "float", "low": low, "high": high, "step": step}


@st.composite
def normals(draw: st.DrawFn) -> dict[str, Any]:
    """Normal and log-normal ranges of both types, with and without ends and steps."""
    log, whole = draw(st.booleans()), draw(st.booleans())
    mu = draw(st.floats(-5.0, 5.0) if log else st.floats(-1e6, 1e6))
    sigma = draw(
        st.floats(0.2, 2.0) if log else st.floats(1e-3, 1e4).map(lambda x: x + abs(mu) / 1e4)
    )
    made: dict[str, Any] = {"type": "int" if whole else "float", "mu": mu, "sigma": sigma}
    made["distribution"] = "lognormal" if log else "normal"
    if not whole and draw(st.booleans()):
        made["step"] = math.exp(mu) * 0.37 if log else sigma * 0.37
    if draw(st.booleans()):
        ends = [mu + sigma * draw(st.floats(-9, 9)) for _ in "lh"]
        low, high = sorted(math.exp(end) if log else end for end in ends)
        made |= (
            {"low": math.ceil(low), "high": math.floor(high)}
            if whole
            else {"low": low, "high": high}
        )
    try:
        Space.parse({"x": made})
    except SpecError:
        assume(False)
    return made


@st.composite
def ints(draw: st.DrawFn) -> dict[str, Any]:
    scale = draw(st.sampled_from(["linear", "log"]))
    ends = st.integers(1, 10**12) if scale == "log" else st.integers(-(2**48), 2**48)
    low, high = sorted([draw(ends), draw(ends)])
    assume(low < high)
    step = draw(st.integers(1, high - low))
    return {"type": "int", "low": low, "high": high, "scale": scale, "step": step}


_SCALARS = st.text("abcxyz é", max_size=5) | st.booleans() | st.integers(-9, 9) | _FINITE
_LISTED = st.lists(st.integers(0, 2) | st.just(1.5) | st.text("ab", max_size=1), max_size=2)
categoricals = st.lists(_SCALARS | _LISTED, min_size=1, max_size=6, unique_by=told_apart).map(
    lambda choices: {"type": "categorical", "choices": choices}
)
ordinals = st.lists(st.integers(-99, 99) | _FINITE, min_size=1, max_size=6, unique=True).map(
    lambda choices: {"type": "ordinal", "choices": sorted(choices)}
)
parameters = floats() | stepped() | ints() | normals() | categoricals | ordinals


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Up to four parameters, each perhaps conditional on one before it with few values."""
    parts: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 4))):
        part = dict(draw(parameters))
        listed = [name for name, other in parts.items() if "choices" in other]
        if listed and draw(st.booleans()):
            parent = draw(st.sampled_from(listed))
            part["when"] = {parent: [draw(st.sampled_from(parts[parent]["choices"]))]}
        parts[f"p{index}"] = part
    return Space.parse(parts)


units = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4)


@given(space=spaces(), point=units)
@example(Space.parse({"x": {"type": "float", "low": -1e6, "high": 1e6}}), [0.5000000001] * 4)
def test_a_configuration_comes_back_from_the_unit_cube(space: Space, point: list[float]) -> None:
    params = space.canonical(space.from_unit(point[: len(space)]))
    place = space.to_unit(params)
    assert all(0.0 <= unit <= 1.0 for unit in place)
    assert space.from_unit(place) == params


@given(space=spaces(), point=units)
def test_what_the_unit_cube_gives_is_canonical_and_canonical_is_idempotent(
    space: Space, point: list[float]
) -> None:
    params = space.from_unit(point[: len(space)])
    once = space.canonical(params)
    assert once == params
    assert space.canonical(once) == once
    assert key(space.canonical(json.loads(json.dumps(once)))) == key(once)


@given(spaces(), st.integers(0, 2**32))
def test_every_grid_point_is_canonical_and_knows_its_index(space: Space, seed: int) -> None:
    assume(space.size is not None)
    index = seed % space.grid.size
    point = space.grid[index]
    assert space.canonical(point) == point
    assert space.grid.index(point) == index


def test_ends_of_more_digits_than_values_keep_are_values() -> None:
    x = {"type": "float", "low": 100000.53125, "high": 100011.53134375, "step": 1.0}
    grid = Space.parse({"x": x}).grid
    assert [grid[0], grid[1]] == [{"x": 100000.53125}, {"x": 100001.5312}]
    x = {"type": "float", "low": 0.5, "high": 100000.53126, "step": 100000.03126}
    space = Space.parse({"x": x})
    assert [space.canonical(point)["x"] for point in space.grid] == [0.5, 100000.53126]


def brute_force(space: Space) -> set[str]:
    """Canonicalise the full product of all values, conditions or not."""
    values = [[p.at(i) for i in range(p.size)] for p in space.parameters.values()]
    products = (dict(zip(space.parameters, row, strict=True)) for row in itertools.product(*values))
    return {key(space.canonical(params)) for params in products}


CONDITIONAL = {
    # Written before its parent, active in two of three branches, itself a parent.
    "child": {"type": "int", "low": 1, "high": 3, "when": {"parent": ["a", "b"]}},
    "parent": {"type": "categorical", "choices": ["a", "b", "c"]},
    "grandchild": {"type": "ordinal", "choices": [1, 2], "when": {"child": [2, 3]}},
    "two": {"type": "categorical", "choices": [0, 1], "when": {"parent": ["b"], "free": [0.5]}},
    "free": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
}


@pytest.mark.parametrize("drop", [[], ["two"], ["grandchild"], ["grandchild", "child"]])
def test_the_grid_holds_every_configuration_once(drop: list[str]) -> None:
    space = Space.parse({name: part for name, part in CONDITIONAL.items() if name not in drop})
    listed = [key(space.grid[index]) for index in range(space.grid.size)]
    assert len(set(listed)) == len(listed) == space.size
    assert set(listed) == brute_force(space)


@given(spaces())
def test_the_size_is_that_of_brute_force(space: Space) -> None:
    sizes = [parameter.size or 10**9 for parameter in space.parameters.values()]
    assume(max(sizes) <= 60)
    product = 1
    for size in sizes:
        product *= size
    assume(product <= 3000)
    assert space.size == len(brute_force(space))


def test_a_grid_of_a_trillion_points_is_not_held_in_memory() -> None:
    space = Space.parse({f"p{i}": {"type": "int", "low": 1, "high": 1000} for i in range(4)})
    assert space.size == 10**12
    assert space.grid[10**12 - 1] == dict.fromkeys(["p0", "p1", "p2", "p3"], 1000)
    with pytest.raises(IndexError):
        space.grid[10**12]


@pytest.mark.parametrize(
    ("parameter", "unit", "value"),
    [
        ({"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}, 0.5, 0.01),
        ({"type": "float", "low": 0.0, "high": 0.99, "scale": "reverse_log"}, 0.5, 0.9),
        ({"type": "float", "low": -1.0, "high": 3.0}, 0.25, 0.0),
        ({"type": "float", "low": 0.0, "high": 1.0, "step": 0.3}, 1.0, 0.9),
        ({"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}, 0.35, 0.3),
        ({"type": "int", "low": 1, "high": 10}, 0.999, 10),
        ({"type": "int", "low": 1, "high": 10**6, "scale": "log"}, 0.5, 707),
        ({"type": "ordinal", "choices": [8, 16, 32, 64]}, 0.5, 32),
        ({"type": "categorical", "choices": ["a", "b"]}, 0.0, "a"),
    ],
)
def test_scales_put_values_where_they_belong(
    parameter: dict[str, Any], unit: float, value: Any
) -> None:
    assert Space.parse({"x": parameter}).from_unit([unit]) == {"x": value}


@pytest.mark.parametrize(
    ("given_value", "value"),
    [(0.30000000000000004, 0.3), (0.34, 0.3), (0.5, 0.5), (0, 0.0), (-0.0, 0.0)],
)
def test_a_value_moves_to_its_step(given_value: float, value: float) -> None:
    space = Space.parse({"drop": MIXED["drop"]})
    assert repr(space.canonical({"drop": given_value})["drop"]) == repr(value)


def test_true_is_not_one() -> None:
    assert same(1, 1.0)
    assert not same(1, True)
    space = Space.parse({"x": {"type": "categorical", "choices": [True, 1, "1"]}})
    assert [space.canonical({"x": x})["x"] for x in (True, 1, "1")] == [True, 1, "1"]
    assert len({key(space.grid[i]) for i in range(3)}) == 3


SHAPES = [[64, 32], [128], {"kind": "wide", "sizes": [1.0, 2]}, "none"]


def test_lists_and_mappings_are_choices_by_what_they_hold() -> None:
    space = Space.parse(
        {
            "shape": {"type": "categorical", "choices": SHAPES},
            "drop": {"type": "float", "low": 0.0, "high": 1.0, "when": {"shape": [[64, 32]]}},
        }
    )
    assert space.canonical({"shape": [64.0, 32], "drop": 0.5}) == {"shape": [64, 32], "drop": 0.5}
    swapped = {"sizes": [1, 2.0], "kind": "wide"}
    assert space.canonical({"shape": swapped}) == {"shape": SHAPES[2]}
    assert space.from_unit([0.3, 0.5]) == {"shape": [128]}
    assert len({key(space.from_unit([unit, 0.5])) for unit in (0.1, 0.3, 0.6, 0.9)}) == 4
    with pytest.raises(
        SpecError, match=r"^shape: must be one of \[\[64, 32\], .*, got \[32, 64\]$"
    ):
        space.canonical({"shape": [32, 64]})


def test_who_changes_a_list_that_was_suggested_changes_no_space() -> None:
    space = Space.parse({"shape": {"type": "categorical", "choices": SHAPES}})
    params: Any = space.from_unit([0.1])
    params["shape"].append(7)
    assert space.from_unit([0.1]) == {"shape": [64, 32]}


def test_three_numbers_as_choices_are_in_order_however_they_are_listed() -> None:
    space = Space.parse({"c": {"type": "categorical", "choices": [10, 0.1, 1.0]}})
    parameter = space.parameters["c"]
    assert [parameter.from_unit(unit) for unit in (0.1, 0.5, 0.9)] == [0.1, 1.0, 10]
    assert [parameter.at(index) for index in range(3)] == [0.1, 1.0, 10]
    assert [parameter.to_unit(value) for value in (0.1, 1, 10)] == [1 / 6, 0.5, 5 / 6]
    assert not parameter.unordered
    for choices in ([1, 2], [1, 2, "auto"], [True, False], [1, 2, True]):
        kept = Space.parse({"c": {"type": "categorical", "choices": choices}}).parameters["c"]
        assert kept.unordered
        assert kept.at(0) == choices[0]


def test_inactive_parameters_are_dropped_and_active_ones_required() -> None:
    space = Space.parse({name: MIXED[name] for name in ("optimizer", "momentum", "nesterov")})
    assert space.canonical({"optimizer": "adam", "momentum": 0.5}) == {"optimizer": "adam"}
    assert space.canonical({"optimizer": True, "momentum": 0.5}) == {
        "optimizer": True,
        "momentum": 0.5,
    }
    with pytest.raises(SpecError, match=r"^momentum: is required$"):
        space.canonical({"optimizer": "sgd"})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": 1}, "lr: must be within [1e-05, 0.1], got 1.0"),
        ({"lr": "0.01"}, 'lr: must be a finite number, got "0.01"'),
        ({"lr": True}, "lr: must be a finite number, got true"),
        ({"lr": float("nan")}, "lr: must be a finite number, got NaN"),
        ({"units": 64.5}, "units: must be a whole number, got 64.5"),
        ({"units": 0}, "units: must be within [32, 500], got 0"),
        ({"batch": 9}, "batch: must be one of [8, 16, 32.5], got 9"),
        ({"optimizer": "rms"}, 'optimizer: must be one of ["adam", "sgd", true, 1], got "rms"'),
        ({}, "{name}: is required"),
        ({"x": 1}, '"x" is not a parameter of the space; known: {name}'),
    ],
)
def test_an_illegal_configuration_is_refused(params: dict[str, Any], message: str) -> None:
    name = next(iter(params), "lr").replace("x", "lr")
    space = Space.parse({name: MIXED[name]})
    with pytest.raises(SpecError) as caught:
        space.canonical(params)
    assert str(caught.value) == message.replace("{name}", name)


_RANGE = {"type": "float", "low": 0.0, "high": 1.0}
_ONE = {"type": "categorical", "choices": ["a"]}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space: must hold at least one parameter, got none"),
        # Ranges.
        ({"x": {**_RANGE, "high": 0.0}}, "space.x: low must be < high, got low=0.0, high=0.0"),
        (
            {"x": {"type": "float", "low": -1e308, "high": 1e308}},
            "space.x: high - low must be finite, got low=-1e+308, high=1e+308",
        ),
        (
            {"x": {**_RANGE, "scale": "log"}},
            "space.x: low must be > 0 on a log scale, got low=0.0, high=1.0",
        ),
        (
            {"x": {**_RANGE, "scale": "reverse_log"}},
            "space.x: 0 <= low and high < 1 must hold on a reverse_log scale, "
            "got low=0.0, high=1.0",
        ),
        (
            {"x": {**_RANGE, "step": 2.0}},
            "space.x: step must be > 0 and <= high - low, got step=2.0, low=0.0, high=1.0",
        ),
        (
            {"x": {"type": "float", "low": 0.1, "high": 0.5, "scale": "reverse_log", "step": 0.1}},
            "space.x: step needs scale linear or log, got scale=reverse_log; "
            "list them as an ordinal",
        ),
        (
            {"x": {"type": "float", "low": 1e9, "high": 2e9, "step": 0.01}},
            "space.x: step must be at least a 10**9th of low and high, got step=0.01, "
            "low=1000000000.0, high=2000000000.0",
        ),
        (
            {"x": {"type": "int", "low": 0, "high": 2**52}},
            f"space.x: must have at most 2**50 values, got low=0, high={2**52}, step=1",
        ),
        (
            {"x": {"type": "int", "low": 1, "high": 10**13, "scale": "log"}},
            "space.x: high must be <= 10**12 on a log scale, got high=10000000000000",
        ),
        # Choices.
        (
            {"x": {**_ONE, "choices": []}},
            "space.x.choices: choices must hold at least one value, got []",
        ),
        (
            {"x": {**_ONE, "choices": ["a", "a"]}},
            'space.x.choices: choices must differ, got ["a", "a"]',
        ),
        (
            {"x": {"type": "ordinal", "choices": [2, 1]}},
            "space.x.choices: choices of an ordinal must ascend, got [2, 1]",
        ),
        # Names.
        (
            {"-x": _ONE},
            "space: a name must be a letter and then letters, digits, _ or - (at most 64), "
            'got "-x"',
        ),
        # Conditions.
        (
            {"x": {**_ONE, "when": {"y": ["a"]}}},
            'space.x.when: unknown parameter "y"; known: x',
        ),
        ({"x": {**_ONE, "when": {"x": ["a"]}}}, "space: conditions must not form a cycle, got x"),
        (
            {"x": {**_ONE, "when": {"y": ["b"]}}, "y": _ONE},
            'space.x.when.y: must be one of ["a"], got "b"',
        ),
        (
            {"x": {**_ONE, "when": {"y": [0.5]}}, "y": _RANGE},
            "space.x.when: y must have finitely many values, but it is continuous",
        ),
        (
            {
                "x": {**_ONE, "when": {"y": [50]}},
                "y": {"type": "int", "low": 32, "high": 96, "step": 32},
            },
            "space.x.when.y: must be a value that y can take, got 50; nearest: 64",
        ),
        (
            {"x": {**_ONE, "when": {}}},
            "space.x.when: when must name a parameter and at least one value, got {}",
        ),
    ],
)
def test_a_wrong_space_is_refused_with_path_rule_and_value(
    space: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        Space.parse(space)
    assert str(caught.value) == message


def test_conditions_with_too_many_branches_are_searched_but_not_enumerated() -> None:
    parents = {f"p{i}": {"type": "int", "low": 1, "high": 100} for i in range(3)}
    children = {f"c{i}": {**_ONE, "when": {f"p{i}": [1]}} for i in range(3)}
    space = Space.parse({**parents, **children})
    assert space.size is None
    assert space.from_unit([0.0] * 6) == {
        **dict.fromkeys(parents, 1),
        **dict.fromkeys(children, "a"),
    }
    with pytest.raises(SpecError, match="conditions make more than 33333 branches"):
        _ = space.grid


def test_a_condition_on_a_vast_range_costs_nothing() -> None:
    parent = {"type": "int", "low": 0, "high": 2**40}
    space = Space.parse({"n": parent, "x": {**_ONE, "when": {"n": [5]}}})
    assert space.size is None


def test_a_mixed_space_survives_json() -> None:
    space = Space.parse(json.loads(json.dumps(MIXED)))
    assert len(space) == len(MIXED)
    assert space.continuous == ["lr", "beta", "shift", "momentum"]
