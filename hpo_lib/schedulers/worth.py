"""What further steps are worth: expected improvement for a step spent, with the choice to stop.

To go to a rung and then to the end only if it still pays is worth the largest share of expected
improvement in expected steps: the index of Weitzman, "Optimal Search for the Best Alternative"
(Econometrica, 1979), for a box that is opened in two turns.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

_NODES = 9
#: Zelen and Severo's approximation of the normal distribution, 26.2.17 in Abramowitz and Stegun.
_AT = 0.2316419
_TERMS = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)


def chance_below(z: Floats) -> Floats:
    """Give the normal distribution, to seven digits."""
    import numpy as np

    t = 1.0 / (1.0 + _AT * np.abs(z))
    sum_ = sum(term * t**power for power, term in enumerate(_TERMS, 1))
    tail = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * sum_
    return np.where(z >= 0, 1.0 - tail, tail)


def improvement(mean: Floats, spread: Floats, best: float) -> Floats:
    """Give by how much a normal value is expected to be below the best, none if it is above."""
    import numpy as np

    below = best - mean
    z = below / spread
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    gain: Floats = below * chance_below(z) + spread * density
    return gain


def rates(
    mean: Floats, variance: Floats, told: Floats, reached: Whole, rungs: Floats, best: float
) -> Floats:
    """Give what a step of each trial is worth; the arguments are those of `Forecast`."""
    import numpy as np

    steps = np.r_[0.0, rungs][reached + 1]
    found: Floats = improvement(mean, np.sqrt(variance), best) / (rungs[-1] - steps)
    nodes, weights = _quadrature()
    for rung in range(len(rungs) - 1):
        ahead = np.nonzero((reached < rung) & (told[:, rung] > 1e-6))[0]
        if not len(ahead):
            continue
        move = np.sqrt(np.minimum(told[ahead, rung], 0.999 * variance[ahead]))
        left = np.sqrt(variance[ahead] - move**2)
        gain = improvement(mean[ahead, None] + move[:, None] * nodes, left[:, None], best)
        look, rest = rungs[rung] - steps[ahead], rungs[-1] - rungs[rung]
        spent = look[:, None] + rest * np.cumsum(weights)
        worth = (np.cumsum(gain * weights, axis=1) / spent).max(axis=1)
        found[ahead] = np.maximum(found[ahead], worth)
    return found


@cache
def _quadrature() -> tuple[Floats, Floats]:
    """Give places, the best first, and weights by which to average over a normal value."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()
