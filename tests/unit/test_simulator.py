"""The simulator: same arguments, same log; nothing is lost or twice, whoever is killed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.curves import MadeUp, Recorded
from benchmarks.schedulers import measure, table
from benchmarks.simulator import BooksInStore, Log, Simulation, regret, spec_of
from hpo_lib.core.space import key
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import SpecError
from hpo_lib.store import Store, upgrade

PROBLEM = MadeUp(steps=9)
SECTIONS: list[dict[str, Any]] = [
    {"name": "fifo"},
    {"name": "asha", "max": 9},
    {"name": "asha", "max": 9, "type": "stopping"},
    {"name": "hyperband", "max": 9},
    {"name": "median", "start_step": 2},
    {"name": "pbt", "max": 9, "interval": 3, "population": 4},
]


def play(section: dict[str, Any], workers: int = 3, trials: int = 12, **more: Any) -> Log:
    made = spec_of(PROBLEM, scheduler=section, trials=trials, parallel=workers)
    return Simulation(made, PROBLEM, workers=workers, **more).play()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: "-".join(map(str, one.values())))
@pytest.mark.parametrize("waves", [False, True])
def test_the_same_arguments_give_the_same_log(section: dict[str, Any], waves: bool) -> None:
    before = dict(os.environ)
    log = play(section, waves=waves)
    assert log == play(section, waves=waves)
    assert len(log.trials) == 12
    assert log.stop
    assert os.environ == before, "what it allows is for its own time"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: "-".join(map(str, one.values())))
def test_no_epoch_is_trained_twice(section: dict[str, Any]) -> None:
    log = play(section)
    reached: dict[int, float] = {}
    for one in log.events:
        assert one.reached > reached.get(one.trial, 0) or one.state is TrialState.STOPPED
        reached[one.trial] = one.reached
    inherited = sum(
        int(one.resource or 0) - 3
        for one in log.assignments
        if one.resume_from not in (None, one.trial)
    )
    assert log.steps == sum(reached.values()) - inherited


def test_waves_take_longer_than_no_waves() -> None:
    assert play({"name": "fifo"}, waves=True).time_s > play({"name": "fifo"}).time_s


def test_a_budget_ends_a_run() -> None:
    assert 20 <= play({"name": "fifo"}, budget=20).steps <= 20 + 3 * 9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all runs: to make it takes longer than they do."""
    url = f"sqlite:///{tmp_path_factory.mktemp('simulated')}/hpo.db"
    upgrade(url)
    with Store.open(url) as opened:
        yield opened


_NAMES = count()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: "-".join(map(str, one.values())))
@settings(max_examples=2)
@given(seed=st.integers(0, 9_999), often=st.sampled_from([0.1, 0.5]))
def test_whoever_is_killed_wherever_the_run_goes_on_as_it_would_have(
    store: Store, section: dict[str, Any], seed: int, often: float
) -> None:
    draw, points, name = Random(seed), Counter[str](), f"run-{next(_NAMES)}"
    made = spec_of(PROBLEM, scheduler=section, trials=6, parallel=2)

    def kills(point: str) -> bool:
        killed = draw.random() < often
        points[point] += killed
        return killed

    books = BooksInStore(made, store, kills, name)
    log = Simulation(made, PROBLEM, workers=2, books=books).play()
    alike = BooksInStore(made, store, never, f"{name}-quiet")
    quiet = Simulation(made, PROBLEM, workers=2, books=alike).play()
    asked = [(one.trial, one.resource) for one in log.assignments]
    assert len(set(asked)) == len(asked), "no trial twice at a rung"
    assert log.decisions() == quiet.decisions()
    assert (log.steps, log.stop) == (quiet.steps, quiet.stop)
    assert [one.value for one in log.trials] == [one.value for one in quiet.trials]
    assert [one.rungs for one in log.trials] == [one.rungs for one in quiet.trials]


def never(_: str) -> bool:
    return False


def test_regret_is_1_until_something_is_trained_to_its_end_and_0_at_the_best() -> None:
    recorded = MadeUp(steps=4).recorded(5)
    made = spec_of(recorded, scheduler={"name": "fifo"}, trials=5, sampler=grid(recorded))
    log = Simulation(made, recorded).play()
    assert regret(log, recorded, 0.0) == 1.0
    assert regret(log, recorded, 1.0) == pytest.approx(0.0, abs=1e-6)


def grid(recorded: Recorded) -> dict[str, Any]:
    import tempfile

    file = Path(tempfile.mkdtemp()) / "curves.npz"
    recorded.write(file)
    again = Recorded.read(file)
    assert (again.name, again.params) == (recorded.name, recorded.params)
    assert np.array_equal(again.loss, recorded.loss)
    return {"name": "benchmarks.curves:RecordedSampler", "file": str(file)}


def test_halving_wins_where_early_ranks_tell_and_loses_where_they_mislead() -> None:
    asha = {"name": "asha", "max": 27}
    tells, misleads = MadeUp(27).recorded(100), MadeUp(27, misleading=True).recorded(100)
    assert measure(tells, asha, seeds=2)[0] < measure(tells, {"name": "fifo"}, seeds=2)[0]
    assert measure(misleads, asha, seeds=2)[3] > measure(misleads, {"name": "fifo"}, seeds=2)[3]
    assert "| asha | 0.50 |" in table({"asha": [0.5, 0.4, 0.3, 0.2]})


def test_a_model_chooses_among_what_was_recorded_and_nothing_twice(tmp_path: Path) -> None:
    recorded = MadeUp(2).recorded(60)
    recorded.write(file := tmp_path / "curves.npz")
    ends = {
        key(one): float(curve[-1])
        for one, curve in zip(recorded.canonical, recorded.loss, strict=True)
    }

    def tried(of: str, trials: int) -> list[str]:
        sampler = {"name": "benchmarks.curves:NearestSampler", "file": str(file), "of": of}
        made = spec_of(recorded, scheduler={"name": "fifo"}, trials=trials, sampler=sampler)
        return [key(one.params) for one in Simulation(made, recorded).play().trials]

    assert set(tried("random", 60)) == set(ends)
    best = sorted(ends, key=ends.__getitem__)[:5]
    assert len(set(best) & set(tried("bayesian", 20))) >= 4
    with pytest.raises(SpecError, match="nobody"):
        tried("nobody", 1)
