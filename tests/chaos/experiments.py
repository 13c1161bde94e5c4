"""What is run while things go wrong, and what comes of the same undisturbed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hpo_lib.core.trial import Cause
from hpo_lib.records import Model, Run, RunKey, RunView
from hpo_lib.store import Store, upgrade
from tests.integration.test_promotion import Bench

PROGRAM = (Path(__file__).parent / "trial.py").read_text(encoding="utf-8")
SECONDS = 3.0
#: Nights of an experiment; the second one's challenger is better than the first one's champion.
NIGHTS = 2


def _waves(night: int) -> dict[str, Any]:
    """The sampler asks for one wave after the other, and each depends on the values before."""
    return {
        "space": {
            "x": {"type": "float", "low": night - 1.0, "high": night - 0.5},
            "k": {"type": "int", "low": 1, "high": 8},
        },
        "sampler": {"name": "bayesian", "seed": 7, "initial": 2},
        "limits": {"max_trials": 4, "parallel_trials": 2},
    }


def _rungs(night: int) -> dict[str, Any]:
    """A scheduler promotes the better half to a higher rung."""
    return {
        "space": {"x": {"type": "ordinal", "choices": [4 * night - 3 + n for n in range(4)]}},
        "sampler": {"name": "grid"},
        "scheduler": {"name": "tests.halves:HalvesScheduler", "low": 2, "high": 7},
        "limits": {"max_trials": 4, "parallel_trials": 4},
    }


#: The ways in which a run can go.
MODES: dict[str, Callable[[int], dict[str, Any]]] = {"waves": _waves, "rungs": _rungs}


def conf(
    mode: str,
    night: int,
    *,
    name: str = "undisturbed",
    trial: Mapping[str, Any] = {},
    carrier: Sequence[str] = (),
    seconds: float = SECONDS,
    approval: str = "manual",
) -> dict[str, Any]:
    """Describe a night: a search, final training, the gate, people's approval, deployment."""
    python = "python3" if "image" in trial else sys.executable
    words = [*carrier, python, "-S", "-c", PROGRAM, "${params.x}", str(seconds)]
    return {
        "name": name,
        "objective": {"metric": "loss", "direction": "minimize"},
        "extra_metrics": [],
        "fixed": {},
        **MODES[mode](night),
        "trial": {"command": words, "timeout": "5m", **trial},
        "final": {"seeds": 2},
        "deploy": {
            "to": "package",
            "metric": "test_loss",
            "direction": "minimize",
            "approval": approval,
        },
    }


#: Of each trial what a disturbance may not change.
Table = dict[int, Mapping[str, Any]]
#: For each night the trials that are marked as failed, with the cause that is noted for them.
Marks = tuple[frozenset[tuple[int, Cause]], ...]


def table(view: RunView) -> Table:
    """Give a run's trials, those of the search and the final ones, without their attempts."""
    trials = [one.trial for one in [*view.trials, *view.finals]]
    return {
        trial.number: {
            "params": dict(trial.params),
            "origin": str(trial.origin),
            "repeat": trial.repeat,
            "state": str(trial.state),
            "value": trial.value,
            "metrics": dict(trial.metrics),
            "rungs": dict(trial.rungs),
        }
        for trial in trials
    }


@dataclass
class _Quietly(Bench):
    """Nights without Airflow; some trials are marked as failed, as if by a click."""

    marked: Mapping[int, Cause] = field(default_factory=dict)

    def perform(self, run: Run, *numbers: int) -> None:
        for number in numbers:
            if number in self.marked:
                self.store.fail_trial(run.id, number, self.marked[number], "marked")
            else:
                super().perform(run, number)


@dataclass
class Undisturbed:
    """What nights come to where nothing goes wrong; each is played once, with real trials."""

    _known: dict[Any, tuple[Table, Model | None]] = field(default_factory=dict)

    def night(self, mode: str, marks: Marks) -> tuple[Table, Model | None]:
        """Give the table of the last of some nights, and the champion after it."""
        if (mode, marks) not in self._known:
            self._known[mode, marks] = _played(mode, marks)
        return self._known[mode, marks]


def _played(mode: str, marks: Marks) -> tuple[Table, Model | None]:
    allowed = patch.dict(os.environ, HPO_SCHEDULERS="tests.halves")
    with allowed, TemporaryDirectory(prefix="hpo-undisturbed-") as folder:
        url = f"sqlite:///{folder}/hpo.db"
        upgrade(url)
        with Store.open(url) as store:
            bench = _Quietly(store, Path(folder))
            for night, marked in enumerate(marks, start=1):
                bench.marked = dict(marked)
                bench.night(night, **conf(mode, night, seconds=0, approval="none"))
            run = store.run(RunKey(bench.dag, f"night-{len(marks)}"))
            return table(store.view(run.id)), store.models.champion(run.experiment)
