"""How good a run was: the share it closed of the distance from random search to the best known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORST = -100.0
#: A batch of 1 is no reference to speak of: the mean of everything, outliers included.
LEAST_BATCH = 8

Pair = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Scale:
    """Two losses of one problem: `reference` is 0 on the scale, `best` 100."""

    reference: float
    best: float

    def gap(self, true: float | None) -> float:
        """Give 100 times the closed share; no success, or far beyond the reference, is -100."""
        distance = self.reference - self.best
        if true is None:
            return WORST
        if distance <= 0:
            return 0.0
        return max(WORST, 100.0 * (self.reference - true) / distance)


def expected_best(pairs: Sequence[Pair], batch: int) -> float:
    """Give the expected true value of the best observed of `batch` random evaluations.

    `pairs` are (observed, true) of all random evaluations, None for failures, which lose against
    everything. Exact for draws without replacement: sorted by what was observed, the i-th of n is
    the best with probability C(n - 1 - i, batch - 1) / C(n, batch).
    """
    done = sorted((o, t) for o, t in pairs if o is not None and t is not None)
    n, batch = len(pairs), min(batch, len(pairs))
    total = weight = 0.0
    share = batch / n if n else 0.0
    for index, (_, true) in enumerate(done):
        total, weight = total + share * true, weight + share
        left = n - 1 - index
        share *= max(left - (batch - 1), 0) / left if left else 0.0
    return total / weight if weight else math.nan


def scale_of(pairs: Sequence[Pair], batch: int, lowest: Sequence[float | None]) -> Scale:
    """Make the scale of a problem from its random evaluations and the lowest values of all runs."""
    known = [true for _, true in pairs if true is not None]
    known += [value for value in lowest if value is not None]
    reference = expected_best(pairs, max(batch, LEAST_BATCH))
    return Scale(reference, min(known, default=math.nan))


@dataclass(frozen=True, slots=True)
class Score:
    """Of one run: `gap` after the last round, `any` averaged over the rounds."""

    gap: float
    any: float
    cpu_s: float


def score(line: Mapping[str, Any], scale: Scale, rounds: int) -> Score:
    """Score a run; one that broke off keeps what it had found to the end."""
    true = list(line["true"])[:rounds]
    true += [true[-1] if true else None] * (rounds - len(true))
    gaps = [scale.gap(value) for value in true]
    return Score(gaps[-1], sum(gaps) / len(gaps), sum(line["cpu_s"]))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Give the mean and its standard error, NaN for fewer than two values."""
    if not values:
        return math.nan, math.nan
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
