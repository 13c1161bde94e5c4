"""The benchmark of warm starts: what its data share, and how its tables count."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks import warmstart
from benchmarks.warmstart.measure import TRIALS
from benchmarks.warmstart.table import NEVER, reached, tables
from benchmarks.warmstart.tasks import NEW_ROWS, TASKS, WRONG_LABELS, Task

ROW: dict[str, Any] = {
    "task": "t",
    "seed": 0,
    "previous": 2.0,
    "arms": {
        "cold": [[1, 4.0], [9, 2.0], [20, 1.0]],
        "first point": [[1, 2.0]],
        "warm": [[1, 2.0], [5, 1.0]],
        "unrelated": [[3, 1.5]],
    },
}


def test_a_target_is_reached_at_the_first_trial_that_is_as_good() -> None:
    assert [reached(ROW, "cold", target) for target in (4.0, 2.0, 1.0, 0.5)] == [1, 9, 20, NEVER]


def test_the_tables_say_when_and_how_good() -> None:
    lines = tables([ROW]).splitlines()
    assert "| t | 1 | 9 (0) | 1 (0) | 1 (0) | 3 (0) |" in lines
    assert f"| t | 1 | 20 (0) | {NEVER} (1) | 5 (0) | {NEVER} (1) |" in lines
    assert "| t | 1 | 2.000, 2.000; 100% | 1.000, 1.000; 0% | 1.500, 1.500; 100% |" in lines


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_most_rows_of_tonight_are_yesterdays(task: Task) -> None:
    before, tonight = task.yesterday(3), task.tonight(3)
    known = {
        row.tobytes(): label for row, label in zip(before.features, before.labels, strict=True)
    }
    kept = [row.tobytes() in known for row in tonight.features]
    assert np.mean(kept) == pytest.approx(1 - NEW_ROWS, abs=0.02)
    rows = zip(tonight.features, tonight.labels, strict=True)
    wrong = [known[row.tobytes()] != label for row, label in rows if row.tobytes() in known]
    assert 0 < np.mean(wrong) <= 1.5 * WRONG_LABELS
    assert task.elsewhere(3).features.shape != before.features.shape


def test_the_committed_results_are_complete() -> None:
    rows = [json.loads(line) for line in warmstart.RESULTS.read_text().splitlines()]
    pairs = {(row["task"], row["seed"]) for row in rows}
    assert len(pairs) == len(rows)
    assert all(
        number <= TRIALS for row in rows for arm in row["arms"].values() for number, _ in arm
    )
