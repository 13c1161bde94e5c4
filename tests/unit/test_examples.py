"""The examples in the docstrings of what people extend: they run, and keep the contract."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hpo_lib.samplers
import hpo_lib.schedulers
from hpo_lib.core.trial import TrialState
from hpo_lib.registry import ALLOWED_SAMPLERS, ALLOWED_SCHEDULERS
from hpo_lib.search import engine
from hpo_lib.spec import load
from tests.unit.scheduler_contract import Played, SchedulerContract, never, spec

NEEDS = """
import math
from hpo_lib.core.trial import Assignment, Decision, Suggestion, TrialState
from hpo_lib.samplers import Sampler, draws, random_params
from hpo_lib.schedulers import NoSettings, Scheduler
from hpo_lib.validation import Strict
"""


def example(module: ModuleType) -> str:
    """Give the indented block of a module's docstring."""
    lines = (module.__doc__ or "").splitlines()
    block = [line for line in lines if line.startswith("    ") or not line.strip()]
    return textwrap.dedent("\n".join(block)).strip() + "\n"


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put both examples into modules of one's own, which the operator allows."""
    for name, module in (("walk", hpo_lib.samplers), ("twice", hpo_lib.schedulers)):
        (tmp_path / f"acme_{name}.py").write_text(NEEDS + example(module))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOWED_SAMPLERS, "acme_walk")
    monkeypatch.setenv(ALLOWED_SCHEDULERS, "acme_twice")
    yield
    for name in ("acme_walk", "acme_twice"):
        sys.modules.pop(name, None)


class TestTwice(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "acme_twice:TwiceScheduler"}


def test_a_sampler_of_ones_own_is_asked() -> None:
    section = {"name": "acme_walk:StepSampler", "width": 0.05, "seed": 4}
    made = load(spec({"name": "fifo"}, trials=12).dump() | {"sampler": section})
    played = Played(made, never, order=None, waves=True).play()  # type: ignore[arg-type]
    assert {trial.state for trial in played.history.trials} == {TrialState.COMPLETE}
    first = min(trial.value for trial in played.history.trials[:3] if trial.value is not None)
    best = made.goal.best(played.history.trials)
    assert best is not None
    assert best.value is not None
    assert best.value <= first
    with pytest.raises(ValueError, match=r"sampler: unknown key \"widht\", did you mean 'width'"):
        engine.check(load(made.dump() | {"sampler": section | {"widht": 1}}))
