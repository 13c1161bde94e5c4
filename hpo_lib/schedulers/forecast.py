"""A forecast of where learning curves end: a Gaussian process over configurations and steps.

Curves are a sum of a course that all share, of one that alike configurations share, and of one of
each trial's own. Values of all steps are on one scale, so that a fast learner's early steps tell
what a slow one comes to later. After Swersky, Snoek, Adams, "Freeze-Thaw Bayesian Optimization"
(arXiv:1406.3896, 2014) and Lin, Ament, Balandat, Bakshy, "Scaling Gaussian Processes for Learning
Curve Prediction" (arXiv:2410.09239, 2024).
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

#: Of the shared course: its variance, and its length in triplings of the step.
_SHARED, _SHARED_LENGTH = 1.0, 6.0
#: Of a trial's own: the length, and the variance of a part that never changes.
_OWN_LENGTH, _OFFSET = 2.5, 0.05
_NOISE = 0.15
#: Beyond this many observations the least telling are left out.
_MOST = 320
_MOST_TO_CHOOSE = 110
#: Values are on a scale from -1, the best, to 0, the middle; far above it goes by the logarithm.
_BEND = 0.5


class Shape(NamedTuple):
    """How curves hang together; the likeliest of a few is taken.

    `reach` is how alike configurations are that share a course, and `shared` the variance of it;
    `length` says over how many triplings of the step it holds; `own` is that of a trial's own.
    """

    reach: float
    shared: float
    length: float
    own: float


SHAPES = [Shape(*one) for one in product((0.2, 0.4), (0.75, 2.0), (1.5, 4.0), (0.06, 0.3))]


class Scale(NamedTuple):
    """Turns losses into what the process is about, and back."""

    middle: float
    unit: float

    def put(self, losses: Floats) -> Floats:
        """Put losses on the scale."""
        import numpy as np

        z = (losses - self.middle) / self.unit
        return np.where(z > _BEND, _BEND + np.log1p(np.maximum(z - _BEND, 0.0)), z)

    def back(self, z: float) -> float:
        """Give the loss at a place on the scale."""
        bent = _BEND + math.expm1(z - _BEND) if z > _BEND else z
        return self.middle + self.unit * bent


def scale_of(seen: Floats) -> Scale:
    """Find the scale of losses seen, a row a trial and a column a rung, NaN where there is none."""
    import numpy as np

    there = ~np.isnan(seen)
    rows = np.nonzero(there.any(axis=1))[0]
    last = seen.shape[1] - 1 - there[rows, ::-1].argmax(axis=1)
    latest = seen[rows, last]
    later = seen[:, 1:][there[:, 1:]]
    middle = np.median(latest)
    if later.size > 4:
        middle = min(middle, np.median(later))
    best = np.nanmin(seen)
    return Scale(float(middle), max(float(middle - best), 1e-9 * max(abs(float(best)), 1.0)))


class Forecast:
    """What is known of every trial's end, from all trials' losses at rungs.

    `features` has a row a trial, numbers from 0 to 1; `seen` a row a trial and a column a rung,
    NaN where a trial has not been: all of it, for one that has not begun.
    """

    def __init__(self, features: Floats, rungs: Floats, seen: Floats) -> None:
        import numpy as np

        self.scale = scale_of(seen)
        self.last = len(rungs) - 1
        self._features = features
        places = np.log(rungs) / math.log(3.0)
        self._between = np.abs(places[:, None] - places[None])
        self._who, self._where, self._z = self._observed(self.scale.put(seen))
        self.shape = self._likeliest()
        self._root = np.linalg.inv(self._cholesky(self.shape, slice(None)))
        self._known = self._root @ self._z

    def ends(self, who: Whole) -> tuple[Floats, Floats]:
        """Give mean and variance of where trials end, on the scale."""
        import numpy as np

        told = self._told(who, self.last)
        left = self._prior(self.last, self.last) - (told**2).sum(axis=0)
        return told.T @ self._known, np.maximum(left, 1e-4)

    def told_by(self, who: Whole, reached: Whole) -> Floats:
        """Give the variance of trials' ends that each rung would take away, a row a trial.

        `reached` is the index of the rung where a trial is, -1 before the first. The last rung,
        which takes away all, has no column.
        """
        import numpy as np

        end = self._told(who, self.last)
        found = np.zeros((len(who), self.last))
        for rung in range(self.last):
            ahead = np.nonzero(reached < rung)[0]
            if not len(ahead):
                continue
            there = self._told(who[ahead], rung)
            both = self._prior(rung, self.last) - (end[:, ahead] * there).sum(axis=0)
            left = self._prior(rung, rung) - (there**2).sum(axis=0) + _NOISE**2
            found[ahead, rung] = both**2 / np.maximum(left, 1e-6)
        return np.maximum.accumulate(found, axis=1)

    def _observed(self, z: Floats) -> tuple[Whole, Whole, Floats]:
        """Give trials, rungs and values, the most telling first: ends, then where each trial is."""
        import numpy as np

        who, where = np.nonzero(~np.isnan(z))
        is_last = np.r_[who[1:] != who[:-1], True]
        worth = np.where(where == self.last, 0, np.where(is_last & (where > 0), 1, 3 - is_last))
        order = np.lexsort((who, -where, worth))[:_MOST]
        who, where = who[order], where[order]
        return who, where, z[who, where]

    def _likeliest(self) -> Shape:
        """Choose by the marginal likelihood of the most telling observations."""
        few = slice(_MOST_TO_CHOOSE)
        return max(SHAPES, key=lambda shape: self._likelihood(shape, few))

    def _likelihood(self, shape: Shape, of: slice) -> float:
        import numpy as np

        root = self._cholesky(shape, of)
        z = np.linalg.solve(root, self._z[of])
        return float(-0.5 * z @ z - np.log(np.diag(root)).sum())

    def _cholesky(self, shape: Shape, of: slice) -> Floats:
        import numpy as np

        who, where = self._who[of], self._where[of]
        covariance = self._covariance(shape, who, where, who, where)
        covariance[np.diag_indices_from(covariance)] += _NOISE**2
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)

    def _told(self, who: Whole, rung: int) -> Floats:
        """Give what the observations tell of trials at a rung, a column a trial."""
        import numpy as np

        there = np.full(len(who), rung)
        covariance = self._covariance(self.shape, self._who, self._where, who, there)
        told: Floats = self._root @ covariance
        return told

    def _covariance(
        self, shape: Shape, who: Whole, where: Whole, others: Whole, there: Whole
    ) -> Floats:
        import numpy as np

        steps = np.ix_(where, there)
        same = who[:, None] == others[None]
        alike = np.exp(-0.5 * self._apart[np.ix_(who, others)] / shape.reach**2)
        common, shared, own = (one[steps] for one in self._courses(shape))
        covariance: Floats = common + alike * shared + same * own
        return covariance

    def _courses(self, shape: Shape) -> tuple[Floats, Floats, Floats]:
        """Give the covariances between rungs: of all trials, of alike ones, of a trial's own."""
        return (
            _SHARED * _smooth(self._between, _SHARED_LENGTH),
            shape.shared * _smooth(self._between, shape.length),
            shape.own * _smooth(self._between, _OWN_LENGTH) + _OFFSET,
        )

    def _prior(self, rung: int, other: int) -> float:
        return float(sum(one[rung, other] for one in self._courses(self.shape)))

    @cached_property
    def _apart(self) -> Floats:
        """Give the mean squared difference between configurations."""
        columns = max(self._features.shape[1], 1)
        norms = (self._features**2).sum(axis=1)
        squared = norms[:, None] + norms[None] - 2 * self._features @ self._features.T
        apart: Floats = squared.clip(min=0.0) / columns
        return apart


def _smooth(distance: Floats, length: float) -> Floats:
    """Give Matern's covariance of order 5/2."""
    import numpy as np

    x = math.sqrt(5) * distance / length
    smooth: Floats = (1 + x + x * x / 3) * np.exp(-x)
    return smooth
