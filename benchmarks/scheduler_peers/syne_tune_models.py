"""Syne Tune's MOBSTER and HyperTune, of 0.14.2: later releases have neither.

Both wait at rungs 1, 3, 9, … and go on from their checkpoints (`type="promotion"`); HyperTune has
four brackets. They choose from the table itself (`restrict_configurations`).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from desk import Desk, serve


def play(desk: Desk, seed: int, kind: str) -> None:
    """Train whom the scheduler begins or promotes, until it pauses that one."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer import legacy_baselines
    from syne_tune.optimizer.scheduler import SchedulerDecision

    logging.disable(logging.WARNING)
    made = {"mobster": legacy_baselines.MOBSTER, "hypertune": legacy_baselines.HyperTune}[kind]
    scheduler = made(
        {**{name: _axis(axis) for name, axis in desk.space.items()}, "max_step": desk.steps},
        metric="loss",
        mode="min",
        resource_attr="step",
        max_resource_attr="max_step",
        type="promotion",
        brackets=4 if kind == "hypertune" else 1,
        random_seed=seed,
        search_options={"restrict_configurations": desk.params, "debug_log": False},
    )
    trials: dict[int, Trial] = {}
    reached: dict[int, int] = {}
    while (asked := scheduler.suggest(len(trials))) is not None:
        if asked.spawn_new_trial_id:
            number = len(trials)
            trials[number] = Trial(number, asked.config, datetime.now(UTC))
            scheduler.on_trial_add(trials[number])
        else:
            number = int(asked.checkpoint_trial_id)
        trial, row = trials[number], desk.row_of(trials[number].config)
        for step in range(reached.get(number, 0) + 1, desk.steps + 1):
            result, reached[number] = {"step": step, "loss": desk.train(row, step)}, step
            if scheduler.on_trial_result(trial, result) != SchedulerDecision.CONTINUE:
                scheduler.on_trial_remove(trial)
                break


def _axis(axis: dict[str, Any]) -> Any:
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    if "choices" in axis:
        return choice(axis["choices"])
    is_log = axis.get("scale") == "log"
    if axis["type"] == "int":
        return (lograndint if is_log else randint)(axis["low"], axis["high"])
    return (loguniform if is_log else uniform)(axis["low"], axis["high"])


if __name__ == "__main__":
    serve("syne-tune", play)
