"""What a model of a run may learn from: trials that the space still has, losses that tell much.

n trials: losses (n,).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_lib.core.space import Space
from hpo_lib.core.trial import Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A forest squares losses and adds them up.
_FAR = 1e100


def is_legal(space: Space, trial: Trial) -> bool:
    """Say whether the space as it is now allows a trial's parameters."""
    return not any(True for _ in space.problems(trial.params, {}))


def tamed(losses: Sequence[float]) -> NDArray[np.float64]:
    """Cut off far outliers, so that a few failures in all but name do not explain everything.

    Where three of four are the best, there is no telling what is far, and all stays as it is.
    """
    import numpy as np

    values = np.clip(losses, -_FAR, _FAR)
    spread = float(np.quantile(values, 0.75) - values.min())
    return np.minimum(values, values.min() + 4 * spread) if spread else values
