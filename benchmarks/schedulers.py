"""`python -m benchmarks.schedulers`: schedulers beside each other on recorded curves.

The normalised regret of what was trained to its end, (its loss - best of all) / (median of all -
best of all), with 1/16, 1/8, 1/4 and all of the steps of 100 full trainings; means over seeds. Ours
beside other people's, in `benchmarks/scheduler_peers`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import scheduler_peers
from benchmarks.curves import FOLDER, MadeUp, Recorded
from benchmarks.scheduler_peers import PEERS, Plan, Runs
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
    sampler: str | None = None,
) -> list[float]:
    """Give the mean regrets of a rule on a problem, by share, up to one.

    Without a sampler the configurations come in random order.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "curves.npz"
        problem.write(file)
        asked = {"name": "benchmarks.curves:RecordedSampler", "file": str(file)}
        if sampler is not None:
            asked |= {"name": "benchmarks.curves:NearestSampler", "of": sampler}
        rows = [
            _regrets(problem, rule, asked, seed=seed, workers=workers, waves=waves, until=until)
            for seed in range(seeds)
        ]
    return [fmean(column) for column in zip(*rows, strict=True)]


def _regrets(
    problem: Recorded,
    rule: Rule,
    sampler: Rule,
    *,
    seed: int,
    workers: int,
    waves: bool,
    until: float,
) -> list[float]:
    asked = {"scheduler": rule, "sampler": sampler, "seed": seed}
    made = spec_of(problem, trials=len(problem.params), parallel=workers, **asked)
    budget = math.ceil(until * FULL * problem.steps)
    log = Simulation(made, problem, workers=workers, waves=waves, budget=budget).play()
    return [regret(log, problem, share) for share in SHARES if share <= until]


def measure_peers(
    problem: Recorded, names: Sequence[str], plan: Plan
) -> dict[str, list[float | None]]:
    """Give the mean regrets of other people's schedulers; those without a run are left out."""
    runs = Runs()
    for name in names:
        runs.play(name, problem, plan)
    lines = {name: runs.of(name, problem, plan.seeds) for name in names}
    width = sum(share <= plan.share for share in SHARES)
    return {
        f"{name} {some[0]['version']}": scheduler_peers.regrets(some, problem)[:width]
        for name, some in lines.items()
        if some
    }


def table(found: Mapping[str, Sequence[float | None]]) -> str:
    """Write a Markdown table of regrets by rule."""
    width = max(map(len, found.values()))
    shares = ("1/16", "1/8", "1/4", "all")[:width]
    lines = [f"| rule | {' | '.join(shares)} |", f"|---|{'---|' * width}"]
    for name, row in found.items():
        cells = ("" if one is None else f"{one:.2f}" for one in row)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def means(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Give the means over problems; None where one is missing."""
    return [
        None if None in column else fmean(one for one in column if one is not None)
        for column in zip(*rows, strict=True)
    ]


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
    parser.add_argument("--sampler", help="chooses, by its model; without it, random order")
    parser.add_argument("--rule", action="append", help="only these, by name")
    parser.add_argument("--until", type=float, default=1.0, help="stop after this share")
    parser.add_argument("--peer", action="append", choices=PEERS, help="only these of others")
    parser.add_argument("--fast", action="store_true", help="none of others")
    parser.add_argument("--peer-seeds", type=int, default=4)
    asked = parser.parse_args(arguments)
    alone = asked.workers == 1 and not asked.waves and not asked.fast
    peers = asked.peer or list(PEERS) if alone else []
    plan = Plan(asked.peer_seeds, asked.until)
    everywhere: dict[str, list[Sequence[float | None]]] = {}
    count = 0
    for count, problem in enumerate(problems(asked.curves), 1):  # noqa: B007
        known = rules(problem.steps)
        found: dict[str, Sequence[float | None]] = {
            name: measure(
                problem,
                rule,
                seeds=asked.seeds,
                workers=asked.workers,
                waves=asked.waves,
                until=asked.until,
                sampler=asked.sampler,
            )
            for name, rule in known.items()
            if not asked.rule or name in asked.rule
        }
        found |= measure_peers(problem, peers, plan)
        for name, row in found.items():
            everywhere.setdefault(name, []).append(row)
        print(f"\n## {problem.name}\n\n{table(found)}", flush=True)
    everybody = {name: means(rows) for name, rows in everywhere.items() if len(rows) == count}
    print(f"\n## mean\n\n{table(everybody)}")


if __name__ == "__main__":
    main()
