"""A Python function on a worker, from the conf to the champion of its run: nothing is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.core.trial import Cause
from hpo_lib.records import RunStatus
from hpo_lib.store import Store, upgrade
from hpo_lib.trials.recollect import recollect
from tests.integration.test_runs import Bench

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
def objective(width, rate):
    if rate > 1:
        return [width]
    return {"val_loss": 1 / width, "size_mb": width / 10, "history": [1, 2]}
"""
CONF: dict[str, Any] = {
    "name": "functions",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "constraints": ["size_mb <= 0.5"],
    "space": {"width": {"type": "ordinal", "choices": [1, 4, 16]}},
    "fixed": {"rate": 0.5},
    "metrics": {"collector": "xcom"},
    "limits": {"max_trials": 3, "parallel_trials": 3, "max_failed_trials": 3},
    "trial": {
        "command": [sys.executable, "-m", "hpo_lib.runtime.call", "train_here:objective"],
        "env": {"PYTHONPATH": str(ROOT)},
        "timeout": "1m",
    },
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    (tmp_path / "train_here.py").write_text(PROGRAM)
    with Store.open(url) as store:
        yield Bench(store, tmp_path)


def test_what_the_function_returns_decides_the_run(bench: Bench) -> None:
    run = bench.run(**CONF)
    assert run.status is RunStatus.COMPLETE
    trials = {one.trial.params["width"]: one.trial for one in bench.view(run).trials}
    assert {width: one.value for width, one in trials.items()} == {1: 1, 4: 0.25, 16: 0.0625}
    assert [trials[width].metrics["size_mb"] for width in (1, 4, 16)] == [0.1, 0.4, 1.6]
    assert bench.view(run).front == [trials[4].number], "16 is too large"
    _, found = recollect(bench.store, run, bench.installation, everything=True)
    assert sorted(one.read.value for one in found) == [0.0625, 0.25, 1], (
        "what is kept is read again"
    )


def test_a_function_that_returns_no_metrics_fails_its_trial_with_words(bench: Bench) -> None:
    run = bench.run(**CONF | {"fixed": {"rate": 2}})
    (one, *_) = [view.trial for view in bench.view(run).trials]
    assert one.cause is Cause.USER_ERROR
    logs = sorted((bench.home / "runs").rglob("log.txt"))
    assert all("must return a mapping of metric to number" in log.read_text() for log in logs)
