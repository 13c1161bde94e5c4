"""The recorded learning curves, and what records them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.record_curves import CONFIGURATIONS, CURVES, PROBLEMS, drawn, factor
from hpo_lib.core.space import Space

FILES = sorted(CURVES.glob("*.npz"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_holds_a_curve_for_each_configuration_of_its_space(file: Path) -> None:
    with np.load(file) as held:
        params, space = json.loads(str(held["params"])), Space.parse(json.loads(str(held["space"])))
        assert str(held["name"]) == file.stem
        assert held["loss"].shape == (CONFIGURATIONS, PROBLEMS[file.stem].steps)
        assert held["loss"].dtype == np.float32
        assert held["seconds"].shape == (CONFIGURATIONS,)
        assert np.isfinite(held["loss"]).all()
    assert len(params) == CONFIGURATIONS
    for one in params:
        assert set(space.canonical(one)) == set(one)
    assert file.stat().st_size < 200_000


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_what_is_drawn_is_in_the_space_and_the_same_each_time(name: str) -> None:
    space = PROBLEMS[name].space
    first, again = (drawn(space, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    Space.parse(space).canonical(first)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "step"])
def test_a_schedule_rises_while_it_warms_up_and_ends_low(schedule: str) -> None:
    rates = [factor(schedule, 4, step, 40) for step in range(40)]
    assert rates[0] < rates[3]
    assert rates[-1] < 0.1 * max(rates)
