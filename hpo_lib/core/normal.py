"""The normal distribution: how likely a value is below another, and by how much as a mean.

Without SciPy, which takes a second to import.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
