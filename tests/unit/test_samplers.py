"""Every sampler keeps the contract, and what is particular to each."""

from __future__ import annotations

import time
from collections import Counter
from importlib import import_module
from typing import Any

import pytest
from sampler_contract import GRID, MIXED, Recipe, SamplerContract, complete, extend, failed

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Direction, History, Trial
from hpo_lib.errors import SpecError
from hpo_lib.registry import SAMPLERS
from hpo_lib.samplers import shuffled
from hpo_lib.search import suggesting


class TestRandom(SamplerContract):
    name = "random"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("random")


class TestSobol(SamplerContract):
    name = "sobol"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("sobol")


class TestGrid(SamplerContract):
    name = "grid"

    @pytest.fixture(params=[False, True], ids=["in order", "shuffled"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return Recipe("grid", {"shuffle": request.param}, finite=True)


class TestBayesian(SamplerContract):
    name = "bayesian"

    @pytest.fixture
    def recipe(self) -> Recipe:
        return Recipe("bayesian", {"initial": 4})


def test_every_registered_sampler_keeps_the_contract() -> None:
    for others in ("test_library_samplers", "test_evolution"):
        import_module(others)  # which have the other contracts
    heirs = SamplerContract.__subclasses__()
    tested = {heir.name for heir in heirs if heir.__module__ != "test_contributing"}
    assert tested == set(SAMPLERS)


@pytest.mark.parametrize("settings", [{"shuffle": True}, {"fraction": 0.25, "shuffle": True}])
def test_a_grid_beyond_64_bits_is_shuffled_all_the_same(settings: dict[str, Any]) -> None:
    space = Space.parse({f"x{n}": {"type": "int", "low": 0, "high": 999} for n in range(12)})
    assert len({key(params) for params in _all(_build("grid", space, **settings), 50)}) == 50


def _build(name: str, space: Space, seed: int = 0, **settings: Any) -> Any:
    return suggesting.make_sampler(
        name, space, Goal.of(Direction.MINIMIZE), seed=seed, settings=settings
    )


def _all(sampler: Any, count: int) -> list[Any]:
    return [dict(s.params) for s in sampler.suggest(History(), count)]


@pytest.mark.parametrize("name", ["random", "sobol"])
def test_batches_do_not_change_what_a_trial_gets(name: str) -> None:
    whole = _build(name, MIXED).suggest(History(), 9)
    history = extend(History(), whole[:4])
    assert _build(name, MIXED).suggest(history, 5) == whole[4:]
    assert _build(name, MIXED, seed=1).suggest(History(), 9) != whole


def test_sobol_spreads_over_a_hundred_dimensions() -> None:
    space = Space.parse({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(100)})
    points = _all(_build("sobol", space), 16)
    for name in space.parameters:
        assert sum(point[name] < 0.5 for point in points) in (7, 8, 9)


def test_a_grid_is_walked_in_order_past_what_the_history_has() -> None:
    points = [GRID.grid[i] for i in range(80)]
    assert _all(_build("grid", GRID), 100) == points
    history = History((complete(1, points[0], 1.0), failed(2, points[2]), Trial(3, points[3])))
    assert [dict(s.params) for s in _build("grid", GRID).suggest(history, 2)] == [
        points[1],
        points[4],
    ]


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.1, 8), (0.5, 40), (0.51, 41), (0.99, 80), (1e-9, 1)]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_fraction_of_the_grid_is_a_seeded_subset(
    fraction: float, count: int, shuffle: bool
) -> None:
    sampler = _build("grid", GRID, fraction=fraction, shuffle=shuffle)
    keys = [key(params) for params in _all(sampler, 100)]
    assert len(set(keys)) == len(keys) == sampler.configurations([]) == count
    inside = [GRID.grid[i] for i in range(80) if key(GRID.grid[i]) in keys]
    outside = [GRID.grid[i] for i in range(80) if key(GRID.grid[i]) not in keys]
    assert sampler.configurations(inside) == count
    assert sampler.configurations([*inside[:1], *outside]) == 80
    if 8 <= count <= 41:
        other = _build("grid", GRID, seed=1, fraction=fraction, shuffle=shuffle)
        assert keys != [key(params) for params in _all(other, 100)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("fraction", [1.0, 0.1])
def test_a_grid_of_a_trillion_points_is_quick(fraction: float, shuffle: bool) -> None:
    space = Space.parse({f"p{i}": {"type": "int", "low": 1, "high": 1000} for i in range(4)})
    started = time.monotonic()
    sampler = _build("grid", space, fraction=fraction, shuffle=shuffle)
    assert len({key(params) for params in _all(sampler, 500)}) == 500
    assert sampler.configurations([space.grid[5]]) in (int(10**12 * fraction), 10**11 + 1)
    assert time.monotonic() - started < 5


def test_a_grid_of_a_continuous_space_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        _build("grid", MIXED)
    assert str(caught.value) == (
        "space: a grid needs finitely many values, got lr, momentum without end; "
        "give a step, or list the values as an ordinal"
    )


def test_a_shuffle_is_a_permutation_and_has_prefixes() -> None:
    assert sorted(shuffled(500, 3)) == list(range(500))
    assert list(shuffled(500, 3)) != list(shuffled(500, 4))
    # Every index is about as likely to come first.
    firsts = Counter(next(shuffled(4, seed)) for seed in range(800))
    assert min(firsts.values()) > 140
