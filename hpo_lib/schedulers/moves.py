"""How losses move from rung to rung, by a Gaussian process; and so where they end.

A trial's next move depends on where it is, on how it has moved before, and on what it is. All
rungs share one process: a fast learner does between low rungs, which are cheap, what a slow one
does between high rungs later, be it to fall, to stay or to rise again. A trial's end follows move
by move. After Baker, Gupta, Raskar, Naik, "Accelerating Neural Architecture Search using
Performance Prediction" (arXiv:1705.10823, 2017), who regress the end on the curve so far and on
the configuration, and Swersky, Snoek, Adams, "Freeze-Thaw Bayesian Optimization"
(arXiv:1406.3896, 2014).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

#: Values are on a scale from -1, the best, to 0, the middle; far above it goes by the logarithm.
_BEND = 0.5
#: Losses of a training that diverges may have any size: no further out than this they stay numbers.
_LARGEST, _FARTHEST = 1e150, 1e6
#: So many trials at a rung have a middle.
_ENOUGH = 4
#: What a slope is taken over.
_NEAR = 0.01


class Prior(NamedTuple):
    """What is believed of moves before any is seen; variances and lengths on the scale.

    `shared`, `of_rung`, `of_place` and `of_both` are the variances of the parts of a move that are
    alike everywhere, at near rungs, from near places, and from near places of near configurations.
    `level` and `last` say how near places are, `reach` how near configurations. `noise` is the
    deviation that is left over, as firmly believed as if `believed` moves had shown it.
    `closes_in` and `goes_on` are the shares of the distance from the best, and of the last move,
    that a move is expected to be. Beyond `most` moves the least telling are left out. Chosen by how
    well ends of gbm_cancer, hgb_diabetes, keras_dense_digits and sgd_wine were forecast.
    """

    shared: float = 0.02
    of_rung: float = 0.02
    of_place: float = 0.4
    of_both: float = 0.02
    reach: float = 0.25
    level: float = 0.6
    last: float = 0.8
    noise: float = 0.3
    believed: float = 3.0
    closes_in: float = -0.18
    goes_on: float = 0.4
    most: int = 160


class Scale(NamedTuple):
    """Turns losses into what the process is about, and back."""

    middle: float
    unit: float

    def put(self, losses: Floats) -> Floats:
        """Put losses on the scale."""
        import numpy as np

        z = np.minimum((losses - self.middle) / self.unit, _FARTHEST)
        return np.where(z > _BEND, _BEND + np.log1p(np.maximum(z - _BEND, 0.0)), z)

    def back(self, z: float) -> float:
        """Give the loss at a place on the scale."""
        far = min(z - _BEND, math.log1p(_FARTHEST))
        bent = _BEND + math.expm1(far) if far > 0 else z
        return self.middle + self.unit * bent


def scale_of(seen: Floats) -> Scale:
    """Find the scale of losses seen, a row a trial and a column a rung, NaN where there is none.

    The middle is the lowest median of a rung where some trials have been, for what is far above
    the best does not matter how far.
    """
    import numpy as np

    best = float(np.nanmin(seen))
    there = [column[~np.isnan(column)] for column in seen.T]
    latest = [row[~np.isnan(row)][-1] for row in seen if not np.isnan(row).all()]
    middles = [float(np.median(one)) for one in there if len(one) >= _ENOUGH]
    unit = min([float(np.median(latest)), *middles]) - best
    unit = max(unit, 1e-9 * max(abs(best), 1.0))
    return Scale(best + unit, unit)


class _Places(NamedTuple):
    """From where moves begin: whose, at which rung, at what level, and after what last move."""

    who: Whole
    rung: Whole
    level: Floats
    last: Floats

    def only(self, which: Whole) -> _Places:
        who, rung, level, last = self
        return _Places(who[which], rung[which], level[which], last[which])

    def shifted(self, level: float, last: float) -> _Places:
        return self._replace(level=self.level + level, last=self.last + last)


class Belief(NamedTuple):
    """Where trials end, on the scale."""

    mean: Floats
    variance: Floats


class Moves:
    """What is known of every trial's end, from all trials' losses at rungs.

    `features` has a row a trial, numbers from 0 to 1; `seen` a row a trial and a column a rung,
    NaN where a trial has not been. Each has been at the first rung; a rung that it has jumped over
    counts as the next one.
    """

    def __init__(self, features: Floats, seen: Floats, prior: Prior = Prior()) -> None:  # noqa: B008
        import numpy as np

        self.prior = prior
        seen = seen.clip(-_LARGEST, _LARGEST)
        self.scale = scale_of(seen)
        self.levels = _without_gaps(self.scale.put(seen))
        self._features = features
        self._from, moves = self._moved()
        self._left = np.zeros(0)
        surprise = moves - self._expected(self._from)
        covariance = self._covariance(self._from, self._from)
        noise = self._noise(self._from)
        self._inverse, told = _solved(covariance, noise, surprise)
        # Between what the fit leaves over of a move, and what it would have without that move.
        left = noise * told * told / np.diag(self._inverse)
        self._left = np.minimum(left / _width(self._from.level) ** 2, 4.0)
        self._inverse, self._told = _solved(covariance, self._noise(self._from), surprise)

    def beliefs(self, who: Whole) -> Belief:
        """Go on from where trials are, move by move, up to the end."""
        import numpy as np

        rungs, rows = self.levels.shape[1], np.arange(len(who))
        at = (~np.isnan(self.levels[who])).sum(axis=1) - 1
        level = self.levels[who, at]
        last = np.where(at > 0, level - self.levels[who, np.maximum(at - 1, 0)], 0.0)
        unsure = np.zeros((len(who), rungs))
        slopes = np.tile(np.eye(2), (rungs, len(who), 1, 1))
        for rung in range(rungs - 1):
            on = rows[at <= rung]
            here = _Places(who[on], np.full(len(on), rung), level[on], last[on])
            move, unsure[on, rung + 1], slopes[rung, on] = self._move(here)
            level[on], last[on] = level[on] + move, move
        variance = (unsure * _weights(slopes) ** 2).sum(axis=1)
        return Belief(level, np.maximum(variance, 1e-4))

    def _moved(self) -> tuple[_Places, Floats]:
        """List the moves that were seen: from where, and by how much; the most telling ones."""
        import numpy as np

        z = self.levels
        who, rung = np.nonzero(~np.isnan(z[:, 1:]))
        level = z[who, rung]
        last = np.where(rung > 0, level - z[who, np.maximum(rung - 1, 0)], 0.0)
        few = np.argsort(level - 0.5 * rung, kind="stable")[: self.prior.most]
        found = _Places(who, rung, level, last).only(few)
        return found, z[found.who, found.rung + 1] - found.level

    def _expected(self, places: _Places) -> Floats:
        """Give the moves that are expected while nothing is known."""
        closing = self.prior.closes_in * (places.level + 1).clip(0.0, 4.0)
        expected: Floats = closing + self.prior.goes_on * places.last.clip(-1.5, 0.5)
        return expected

    def _covariance(self, some: _Places, others: _Places) -> Floats:
        import numpy as np

        # From near places moves are partly alike however far the rungs are apart.
        near_rung = np.exp(-0.5 * np.abs(some.rung[:, None] - others.rung))
        near = self._near(some, others)
        alike = _alike(self._features[some.who], self._features[others.who], self.prior.reach)
        prior = self.prior
        parts = prior.shared + prior.of_rung * near_rung
        parts += prior.of_place * near * (0.3 + 0.7 * near_rung)
        parts += prior.of_both * alike * near * near_rung
        covariance: Floats = parts * _width(some.level)[:, None] * _width(others.level)
        return covariance

    def _near(self, some: _Places, others: _Places) -> Floats:
        """Say how near places are; at the first rung there is no last move."""
        import numpy as np

        level = (some.level[:, None] - others.level) / self.prior.level
        last = (some.last[:, None] - others.last) / self.prior.last
        kinds = (some.rung[:, None] > 0) == (others.rung > 0)
        near: Floats = np.exp(-0.5 * (level**2 + last**2)) * kinds
        return near

    def _noise(self, places: _Places) -> Floats:
        """Give the variance that is left over, as it was at near levels and rungs."""
        import numpy as np

        believed, expected = self.prior.believed, self.prior.noise**2
        found = np.full(len(places.who), expected)
        if len(self._left):
            level = (places.level[:, None] - self._from.level) / 0.4
            rung = (places.rung[:, None] - self._from.rung) / 1.5
            near = np.exp(-0.5 * (level**2 + rung**2))
            found = (near @ self._left + believed * expected) / (near.sum(axis=1) + believed)
        noise: Floats = np.maximum(found, 4e-4) * _width(places.level) ** 2
        return noise

    def _move(self, here: _Places) -> tuple[Floats, Floats, Floats]:
        """Give mean and variance of the next move, and how state follows on state, [n, 2, 2]."""
        import numpy as np

        covariance = self._covariance(here, self._from)
        move = self._expected(here) + covariance @ self._told
        prior = self.prior
        whole = prior.shared + prior.of_rung + prior.of_place + prior.of_both
        known = np.einsum("ij,jk,ik->i", covariance, self._inverse, covariance, optimize=True)
        unsure = np.maximum(whole * _width(here.level) ** 2 - known, 1e-6) + self._noise(here)
        by_level, by_last = (
            (self._expected(near) + self._covariance(near, self._from) @ self._told - move) / _NEAR
            for near in (here.shifted(_NEAR, 0.0), here.shifted(0.0, _NEAR))
        )
        by_level = by_level.clip(-1.0, 0.1)
        by_last = np.where(here.rung > 0, by_last.clip(-0.2, 0.9), 0.0)
        slopes = np.array([[1 + by_level, by_last], [by_level, by_last]])
        return move, unsure, np.moveaxis(slopes, -1, 0)


def _width(level: Floats) -> Floats:
    """Say how far moves go: the less, the better a trial is."""
    width: Floats = 0.25 + 0.75 * (level + 1).clip(0.0, 1.5)
    return width


def _solved(covariance: Floats, noise: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Give the inverse with noise, and what it makes of values."""
    import numpy as np

    inverse = np.asarray(np.linalg.inv(covariance + np.diag(noise)), dtype=np.float64)
    return inverse, inverse @ values


def _weights(slopes: Floats) -> Floats:
    """Say by how much an end moves with a surprise at each rung, a row a trial."""
    import numpy as np

    rungs, trials = slopes.shape[:2]
    found, end = np.zeros((trials, rungs)), np.tile([1.0, 0.0], (trials, 1))
    for rung in range(rungs - 1, 0, -1):
        found[:, rung] = end.sum(axis=1)
        end = np.einsum("ni,nij->nj", end, slopes[rung - 1])
    return found


def _alike(some: Floats, others: Floats, reach: float) -> Floats:
    """Say how alike configurations are, by the mean squared difference."""
    import numpy as np

    norms = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    apart = (norms - 2 * some @ others.T).clip(min=0.0) / max(some.shape[1], 1)
    alike: Floats = np.exp(-0.5 * apart / reach**2)
    return alike


def _without_gaps(seen: Floats) -> Floats:
    """Let a rung that a trial has jumped over count as the next one that is there."""
    import numpy as np

    full = seen.copy()
    for rung in range(seen.shape[1] - 2, -1, -1):
        full[:, rung] = np.where(np.isnan(full[:, rung]), full[:, rung + 1], full[:, rung])
    return full
