"""NePS's default where there is a fidelity and no prior (`auto`: Hyperband), and its ASHA.

Both have rungs by factor 3 down from the last step, draw at random from the space and go on with
whom they promote. The trial then is the nearest configuration of the table that was not tried yet,
and NePS knows it by that one's parameters. It is asked as its `run` does with one worker.
"""

from __future__ import annotations

import random
from typing import Any

from desk import Desk, serve


def play(desk: Desk, seed: int, kind: str) -> None:
    """Ask for a new or a promoted trial, and train it to its rung."""
    import neps
    import numpy as np
    import torch
    from neps.optimizers import load_optimizer

    # NePS draws by all three.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    space = {name: _axis(axis) for name, axis in desk.space.items()}
    fidelity = neps.HPOInteger(1, desk.steps, is_fidelity=True)
    optimizer, _ = load_optimizer(kind, neps.SearchSpace({**space, "step": fidelity}))
    tuner = neps.AskAndTell(optimizer)
    rows: dict[str, int] = {}
    while True:
        trial = tuner.ask()
        before = trial.metadata.previous_trial_id
        row = rows[trial.id] = rows[before] if before else desk.nearest(trial.config)
        step = trial.config["step"]
        trial.config = {name: desk.params[row][name] for name in space} | {"step": step}
        tuner.tell(trial, desk.train(row, step))


def _axis(axis: dict[str, Any]) -> Any:
    import neps

    if "choices" in axis:
        return neps.HPOCategorical(list(axis["choices"]))
    made = neps.HPOInteger if axis["type"] == "int" else neps.HPOFloat
    return made(axis["low"], axis["high"], log=axis.get("scale") == "log")


if __name__ == "__main__":
    serve("neural-pipeline-search", play)
