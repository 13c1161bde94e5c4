"""`python -m benchmarks.schedulers`: schedulers beside each other on recorded curves.

The normalised regret of what was trained to its end, (its loss - best of all) / (median of all -
best of all), with 1/16, 1/8, 1/4 and all of the steps of 100 full trainings; means over seeds.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curves import FOLDER, MadeUp, Recorded
from benchmarks.simulator import FULL, SHARES, Simulation, regret, spec_of

Rule = Mapping[str, Any]


def rules(steps: int) -> dict[str, Rule]:
    """Give the schedulers that are compared, for curves of so many steps."""
    return {
        "full training": {"name": "fifo"},
        "auto": {"name": "auto", "max": steps},
        "asha, grace 1": {"name": "asha", "max": steps},
        "asha, grace 9": {"name": "asha", "max": steps, "grace_period": min(9, steps)},
        "asha, stopping": {"name": "asha", "max": steps, "type": "stopping"},
        "hyperband": {"name": "hyperband", "max": steps},
        "successive_halving": {"name": "successive_halving", "max": steps, "trials": 27},
        "median": {"name": "median", "max": steps, "start_step": max(1, steps // 9)},
        "screen": {"name": "screen", "max": steps},
    }


def measure(
    problem: Recorded,
    rule: Rule,
    *,
    seeds: int = 20,
    workers: int = 1,
    waves: bool = False,
    until: float = 1.0,
) -> list[float]:
    """Give the mean regrets of a rule on a problem, by share, up to one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "curves.npz"
        problem.write(file)
        rows = [
            _regrets(problem, rule, str(file), seed=seed, workers=workers, waves=waves, until=until)
            for seed in range(seeds)
        ]
    return [fmean(column) for column in zip(*rows, strict=True)]


def _regrets(
    problem: Recorded,
    rule: Rule,
    file: str,
    *,
    seed: int,
    workers: int,
    waves: bool,
    until: float,
) -> list[float]:
    sampler = {"name": "benchmarks.curves:RecordedSampler", "file": file}
    asked = {"scheduler": rule, "sampler": sampler, "seed": seed}
    made = spec_of(problem, trials=len(problem.params), parallel=workers, **asked)
    budget = math.ceil(until * FULL * problem.steps)
    log = Simulation(made, problem, workers=workers, waves=waves, budget=budget).play()
    return [regret(log, problem, share) for share in SHARES if share <= until]


def table(found: Mapping[str, Sequence[float]]) -> str:
    """Write a Markdown table of regrets by rule."""
    shares = ("1/16", "1/8", "1/4", "all")[: len(next(iter(found.values())))]
    lines = [f"| rule | {' | '.join(shares)} |", f"|---|{'---|' * len(shares)}"]
    lines += [f"| {name} | {' | '.join(f'{x:.2f}' for x in row)} |" for name, row in found.items()]
    return "\n".join(lines)


def problems(folder: Path) -> list[Recorded]:
    """Read the curves of a folder; made-up ones if there are none."""
    files = sorted(folder.glob("*.npz"))
    made_up = [MadeUp(27).recorded(200), MadeUp(27, misleading=True).recorded(200)]
    return [Recorded.read(file) for file in files] or made_up


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table per problem, and one of the means."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedulers", description=__doc__)
    parser.add_argument("--curves", type=Path, default=FOLDER, help="a folder of .npz files")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--waves", action="store_true", help="all wait for the slowest")
    parser.add_argument("--rule", action="append", help="only these, by name")
    parser.add_argument("--until", type=float, default=1.0, help="stop after this share")
    asked = parser.parse_args(arguments)
    everywhere: dict[str, list[list[float]]] = {}
    for problem in problems(asked.curves):
        known = rules(problem.steps)
        found = {
            name: measure(
                problem,
                rule,
                seeds=asked.seeds,
                workers=asked.workers,
                waves=asked.waves,
                until=asked.until,
            )
            for name, rule in known.items()
            if not asked.rule or name in asked.rule
        }
        for name, row in found.items():
            everywhere.setdefault(name, []).append(row)
        print(f"\n## {problem.name}\n\n{table(found)}", flush=True)
    means = {
        name: [fmean(column) for column in zip(*rows, strict=True)]
        for name, rows in everywhere.items()
    }
    print(f"\n## mean\n\n{table(means)}")


if __name__ == "__main__":
    main()
