"""What a decision of the scheduler `auto` costs, in CPU time, at 200 curves of 100 steps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.curves import FOLDER, Recorded
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Direction, History, Trial, TrialState
from hpo_lib.schedulers.auto import AutoScheduler, AutoSettings, rungs_to

#: So many of the trials are complete, the others wait at a rung of some height.
COMPLETE, SEED = 60, 0


def trials(problem: Recorded) -> Iterator[Trial]:
    """Give the history of a run on a problem, as far as each trial has come."""
    rng, rungs = np.random.default_rng(SEED), rungs_to(problem.steps, 3)
    for number, (params, losses) in enumerate(zip(problem.params, problem.loss, strict=True), 1):
        is_complete = number <= COMPLETE
        height = len(rungs) if is_complete else int(rng.integers(1, len(rungs)))
        yield Trial(
            number,
            params,
            state=TrialState.COMPLETE if is_complete else TrialState.WAITING,
            value=float(losses[-1]) if is_complete else None,
            rungs={float(step): float(losses[step - 1]) for step in rungs[:height]},
        )


def main() -> None:
    """Print the CPU seconds of five decisions of schedulers that know nothing yet."""
    problem = Recorded.read(FOLDER / "xgb_wine.npz")
    history = History(tuple(trials(problem)))
    spent = []
    for seed in range(5):
        made = AutoScheduler(Goal.of(Direction.MINIMIZE), seed, AutoSettings(max=problem.steps))
        begun = time.process_time()
        made.admit(history, lambda *_: [], 1)
        spent.append(time.process_time() - begun)
    print(f"{len(history.trials)} curves of {problem.steps} steps, seeds 0 to 4:")
    print(" ".join(f"{one:.3f}" for one in sorted(spent)), "s of CPU a decision")
