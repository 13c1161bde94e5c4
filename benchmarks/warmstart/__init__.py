"""What a warm start saves on slightly drifted data, and what it costs on unrelated data."""

from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

RESULTS = Path(__file__).parent / "results.jsonl"
SEEDS = 20


def main() -> None:
    """Measure what `results.jsonl` does not hold yet, keep it there, and print the tables."""
    from benchmarks.warmstart.table import tables

    done = [json.loads(line) for line in _lines()]
    known = {(row["task"], row["seed"]) for row in done}
    asked = [(name, seed) for seed in range(SEEDS) for name in _names()]
    missing = [pair for pair in asked if pair not in known]
    with ProcessPoolExecutor(os.cpu_count()) as pool, RESULTS.open("a") as file:
        for row in pool.map(_measured, missing):
            file.write(f"{json.dumps(row)}\n")
            file.flush()
            done.append(row)
    print(tables(done))


def _lines() -> list[str]:
    return RESULTS.read_text().splitlines() if RESULTS.exists() else []


def _names() -> list[str]:
    from benchmarks.warmstart.tasks import TASKS

    return [task.name for task in TASKS]


def _measured(pair: tuple[str, int]) -> dict[str, object]:
    from benchmarks.warmstart.measure import measure
    from benchmarks.warmstart.tasks import TASKS

    name, seed = pair
    return measure(next(task for task in TASKS if task.name == name), seed)
