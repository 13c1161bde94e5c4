"""Ray Tune's ASHA, by its defaults but for `max_t`: rungs by factor 4, the kind that stops.

It is asked as Tune's controller does, trial by trial, with the rows of the table in random order,
as Tune itself draws at random.
"""

from __future__ import annotations

from types import SimpleNamespace

from desk import Desk, serve


def play(desk: Desk, seed: int, _: str) -> None:
    """Let each trial run until it is told to stop."""
    import numpy as np
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler

    np.random.seed(seed)
    asha = ASHAScheduler(time_attr="step", metric="loss", mode="min", max_t=desk.steps)
    for row in desk.order(seed):
        desk.asked += 1
        trial = SimpleNamespace(trial_id=str(row))
        asha.on_trial_add(None, trial)
        for step in range(1, desk.steps + 1):
            result = {"step": step, "loss": desk.train(row, step)}
            if asha.on_trial_result(None, trial, result) == TrialScheduler.STOP:
                break


if __name__ == "__main__":
    serve("ray", play)
