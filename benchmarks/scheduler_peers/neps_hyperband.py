"""NePS's `hyperband`, which it takes by itself for a space with a fidelity, and its `priorband`.

They draw from the space; the trial then is the nearest configuration of the table that was not
tried yet, and NePS knows it by that one's parameters. No prior is given. What it goes on with from
its checkpoint costs the new steps.
"""

from __future__ import annotations

import logging
from typing import Any

from desk import Desk, serve


def play(desk: Desk, seed: int, kind: str) -> None:
    """Train whom it asks for as far as the fidelity says."""
    import random

    import neps
    import numpy as np
    import torch

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    axes = {name: _axis(axis) for name, axis in desk.space.items()}
    axes["step"] = neps.IntegerFidelity(1, desk.steps)
    space = type("Space", (neps.PipelineSpace,), axes)()
    optimizer = neps.AskAndTell(getattr(neps.algorithms, kind)(space))
    rows: dict[str, int] = {}
    while True:
        trial = optimizer.ask()
        config = trial.config
        before = trial.metadata.previous_trial_id
        if before is None:
            row = desk.nearest(config)
            config.update(desk.params[row])
        else:
            row = rows[before]
        rows[trial.id] = row
        optimizer.tell(trial, desk.train(row, int(config["step"])))


def _axis(axis: dict[str, Any]) -> Any:
    import neps

    if "choices" in axis:
        return neps.Categorical(axis["choices"])
    kind = neps.Integer if axis["type"] == "int" else neps.Float
    return kind(axis["low"], axis["high"], log=axis.get("scale") == "log")


if __name__ == "__main__":
    serve("neural-pipeline-search", play)
