"""Syne Tune's MOBSTER and Hyper-Tune, by their defaults but for `max_t`: rungs by factor 3 from 1.

They are asked as Syne Tune's tuner does with one worker, and choose among the rows of the table
(`restrict_configurations`), as it has it for tables. 0.13.0 is the last version with both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from desk import Desk, serve


def space_of(desk: Desk) -> dict[str, Any]:
    """Say the space in Syne Tune's words."""
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    kinds = {
        ("float", False): uniform,
        ("float", True): loguniform,
        ("int", False): randint,
        ("int", True): lograndint,
    }
    found = {}
    for name, axis in desk.space.items():
        if "choices" in axis:
            found[name] = choice(list(axis["choices"]))
        else:
            made = kinds[axis["type"], axis.get("scale") == "log"]
            found[name] = made(axis["low"], axis["high"])
    return found


def play(desk: Desk, seed: int, kind: str) -> None:
    """Ask for trials, and let each run until it is told to stop."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer.baselines import MOBSTER, HyperTune
    from syne_tune.optimizer.scheduler import SchedulerDecision

    rows = [{name: one[name] for name in desk.space} for one in desk.params]
    scheduler = {"mobster": MOBSTER, "hypertune": HyperTune}[kind](
        space_of(desk),
        metric="loss",
        mode="min",
        resource_attr="step",
        max_t=desk.steps,
        random_seed=seed,
        search_options={"restrict_configurations": rows, "debug_log": False},
    )
    for number in range(len(rows)):
        asked = scheduler.suggest(number)
        if asked is None:
            return
        trial = Trial(number, asked.config, datetime.now(UTC))
        scheduler.on_trial_add(trial)
        row = desk.row_of(asked.config)
        for step in range(1, desk.steps + 1):
            result = {"step": step, "loss": desk.train(row, step)}
            decision = scheduler.on_trial_result(trial, result)
            if decision != SchedulerDecision.CONTINUE:
                scheduler.on_trial_remove(trial)
                break
        else:
            scheduler.on_trial_complete(trial, result)


if __name__ == "__main__":
    serve("syne-tune", play)
