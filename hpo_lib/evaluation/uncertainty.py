"""How sure a mean difference is. Pure; docs/gate.md derives it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Differences this small beside the scores themselves are rounding.
_ROUNDING = 1e-9


def exceeds(value: float, bound: float, *scores: float) -> bool:
    """Say whether a value computed from `scores` exceeds a bound by more than their rounding."""
    return value - bound > _ROUNDING * max(map(abs, scores))


def uncertainty_of(
    by_seed: Sequence[float], by_example: NDArray[np.float64] | None, confidence: float
) -> tuple[float, float]:
    """Give the standard error of a mean difference, and its one-sided uncertainty.

    Differences by seed, and by seed and example where there are such. See docs/gate.md.
    """
    from scipy.special import stdtrit

    n_seeds = len(by_seed)
    of_seeds, of_examples, t_examples = _variance(by_seed) / n_seeds, 0.0, 0.0
    if by_example is not None:
        n_examples = by_example.shape[1]
        mean = by_example.mean(axis=0)
        rest = by_example - mean
        rest -= rest.mean(axis=1, keepdims=True)
        both = float((rest * rest).mean()) / ((n_seeds - 1) * (n_examples - 1))
        furthest = float(abs(mean - mean.mean()).max()) / n_examples
        of_seeds = max(of_seeds, both)
        of_examples = max(float(mean.var()) / (n_examples - 1) - both, 0.0) + furthest * furthest
        t_examples = float(stdtrit(n_examples - 1, confidence))
    t_seeds = float(stdtrit(n_seeds - 1, confidence))
    uncertainty = math.hypot(t_seeds * math.sqrt(of_seeds), t_examples * math.sqrt(of_examples))
    return math.sqrt(of_seeds + of_examples), uncertainty


def mean_of(values: Sequence[float]) -> float:
    """Give the mean, the same in whatever order."""
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    middle = mean_of(values)
    return math.fsum((x - middle) * (x - middle) for x in values) / (len(values) - 1)
