"""A Gaussian process on numpy: fitted by gradient, conditioned exactly, extended point by point.

    n observations, c candidates, p parameters, f features (f >= p: a categorical has one column
    per choice), w numeric parameters
    features   (n | c, f) in [0, 1]
    losses     (n,) about mean 0 and standard deviation 1

Kernel: Matérn 5/2 with a length scale per parameter. Its hyperparameters maximise the posterior
under log-normal priors (the length scales' grow with the dimension, after Hvarfner et al. 2024,
arXiv 2402.02229). Inputs may be warped by Kumaraswamy's distribution (Snoek et al. 2014, arXiv
1402.0929), as in HEBO (Cowen-Rivers et al. 2022, arXiv 2012.03826).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_JITTER = 1e-8
_LEAST_VARIANCE = 1e-10
#: Logarithms of: length scale, amplitude, noise, warp exponents.
_LENGTH_BOUNDS = (math.log(0.03), math.log(30.0))
_AMPLITUDE_BOUNDS = (math.log(0.05), math.log(20.0))
_NOISE_BOUNDS, _WARP_BOUNDS = (math.log(1e-5), 0.0), (-1.5, 1.5)
_LENGTH, _LENGTH_WIDTH = -0.7, 1.0
_NOISE, _NOISE_WIDTH, _WARP_WIDTH = math.log(1e-2), 1.3, 0.5


@dataclass(frozen=True)
class Layout:
    """Which parameter each feature belongs to, (f,), and which features are warped, (w,)."""

    owner: Any
    warped: Any

    @property
    def parameters(self) -> int:
        """Count the parameters."""
        return int(self.owner.max()) + 1


class Process:
    """One Gaussian process: `fit` finds its hyperparameters, `condition` tells it the data."""

    def __init__(self, layout: Layout, *, warp: bool) -> None:
        import numpy as np

        self._owner = layout.owner
        self._warped = layout.warped if warp else layout.warped[:0]
        p, w = layout.parameters, len(self._warped)
        self._p, self._w = p, w
        self._length = 0.25 * math.log(p) + _LENGTH
        self._prior = np.concatenate([np.full(p, self._length), [0.0, _NOISE], np.zeros(2 * w)])
        self._width = np.concatenate(
            [np.full(p, _LENGTH_WIDTH), [1.0, _NOISE_WIDTH], np.full(2 * w, _WARP_WIDTH)]
        )
        self._bounds = np.array(
            [_LENGTH_BOUNDS] * p + [_AMPLITUDE_BOUNDS, _NOISE_BOUNDS] + [_WARP_BOUNDS] * (2 * w)
        )
        self._by_owner = (np.arange(p)[:, None] == self._owner[None]).astype(float)
        self.theta = self._prior

    def drawn(self, rng: np.random.Generator) -> Array:
        """Draw hyperparameters from the prior, as another place to begin a fit."""
        drawn: Array = self._prior + self._width * rng.normal(size=len(self._prior))
        return drawn

    def fit(self, features: Array, losses: Array, *starts: tuple[Array | None, int]) -> None:
        """Maximise the posterior of the hyperparameters; the best of all starts stays.

        A start is where to begin (None: the prior's mean; what it lacks is that, too) and how many
        steps to take.
        """
        import numpy as np
        from scipy.optimize import minimize

        least = math.inf
        for start, steps in starts:
            begin = self._prior.copy()
            if start is not None:
                common = min(len(start), len(begin))
                begin[:common] = start[:common]
            found = minimize(
                self._objective,
                np.clip(begin, self._bounds[:, 0], self._bounds[:, 1]),
                args=(features, losses),
                jac=True,
                method="L-BFGS-B",
                bounds=self._bounds,
                options={"maxiter": steps, "maxfun": 2 * steps},
            )
            # Rounded, so that machines whose last digits differ go on alike.
            if round(float(found.fun), 6) < least:
                least = round(float(found.fun), 6)
                self.theta = np.round(found.x, 4)

    def condition(self, features: Array, losses: Array) -> None:
        """Take the data that predictions rest on."""
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        self._rows = self._scaled(features)
        covariance = self._kernel(self._rows, self._rows)
        covariance[np.diag_indices(len(covariance))] += self._noise + _JITTER
        self._factor = cholesky(covariance, lower=True, check_finite=False)
        self._alpha = cho_solve((self._factor, True), losses, check_finite=False)

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Give mean and variance of the noiseless loss, (c,) each."""

        across, solved = self._solved(self._scaled(features))
        return self._alpha @ across, self._variance((solved**2).sum(0))

    def mean(self, features: Array) -> Array:
        """Give the mean alone, (c,)."""
        mean: Array = self._alpha @ self._kernel(self._rows, self._scaled(features))
        return mean

    def watch(self, features: Array) -> None:
        """Keep mean and variance of these features up to date from now on: see `watched`."""
        rows = self._scaled(features)
        across, solved = self._solved(rows)
        self._watched = (rows, solved, (solved**2).sum(0), self._alpha @ across)

    @property
    def watched(self) -> tuple[Array, Array]:
        """Mean and variance at the watched features."""
        return self._watched[3], self._variance(self._watched[2])

    def believe(self, feature: Array) -> None:
        """Add an observation equal to the mean at `feature`, (f,): only the variance shrinks.

        The Kriging believer of Ginsbourger et al. 2010.
        """
        import numpy as np
        from scipy.linalg import solve_triangular

        row = self._scaled(feature[None])
        across = self._kernel(self._rows, row)[:, 0]
        last = solve_triangular(self._factor, across, lower=True, check_finite=False)
        own = math.sqrt(max(self._amplitude + self._noise + _JITTER - last @ last, _LEAST_VARIANCE))
        n = len(self._factor)
        factor = np.zeros((n + 1, n + 1))
        factor[:n, :n], factor[n, :n], factor[n, n] = self._factor, last, own
        if hasattr(self, "_watched"):
            rows, solved, explained, means = self._watched
            new = (self._kernel(row, rows)[0] - last @ solved) / own
            self._watched = (rows, np.vstack([solved, new]), explained + new**2, means)
        self._factor, self._rows = factor, np.vstack([self._rows, row])
        self._alpha = np.append(self._alpha, 0.0)

    @property
    def _amplitude(self) -> float:
        return math.exp(self.theta[self._p])

    @property
    def _noise(self) -> float:
        return math.exp(self.theta[self._p + 1])

    def _variance(self, explained: Array) -> Array:
        import numpy as np

        return np.maximum(self._amplitude - explained, _LEAST_VARIANCE)

    def _solved(self, rows: Array) -> tuple[Array, Array]:
        from scipy.linalg import solve_triangular

        across = self._kernel(self._rows, rows)
        return across, solve_triangular(self._factor, across, lower=True, check_finite=False)

    def _scaled(self, features: Array) -> Array:
        """Warp the features and divide them by their length scales."""
        import numpy as np

        scaled: Array = (
            self._warp(features, self.theta) / np.exp(self.theta[: self._p])[self._owner]
        )
        return scaled

    def _warp(self, features: Array, theta: Array) -> Array:
        import numpy as np

        if not self._w:
            return features
        a, b = self._exponents(theta)
        warped = features.copy()
        inside = np.clip(features[:, self._warped], 1e-6, 1 - 1e-6)
        warped[:, self._warped] = 1 - (1 - inside**a) ** b
        return warped

    def _exponents(self, theta: Array) -> tuple[Array, Array]:
        import numpy as np

        first = self._p + 2
        return np.exp(theta[first : first + self._w]), np.exp(theta[first + self._w :])

    def _kernel(self, left: Array, right: Array) -> Array:
        import numpy as np

        squared = _squared_distances(left, right)
        distance = np.sqrt(squared)
        near: Array = self._amplitude * (1 + _ROOT5 * distance + 5 / 3 * squared)
        near *= np.exp(-_ROOT5 * distance)
        return near

    def _objective(self, theta: Array, features: Array, losses: Array) -> tuple[float, Array]:
        """Give the negative log posterior of the hyperparameters and its gradient."""
        import numpy as np
        from scipy.linalg.lapack import dpotrf, dpotri

        p, n = self._p, len(losses)
        amplitude, noise = math.exp(theta[p]), math.exp(theta[p + 1])
        lengths = np.exp(theta[:p])[self._owner]
        rows = self._warp(features, theta) / lengths
        squared = _squared_distances(rows, rows)
        distance = _ROOT5 * np.sqrt(squared)
        decay = amplitude * np.exp(-distance)
        smooth = (1 + distance + 5 / 3 * squared) * decay
        covariance = smooth.copy()
        covariance[np.diag_indices(n)] += noise + _JITTER
        factor, failed = dpotrf(covariance, lower=1, clean=0, overwrite_a=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        inverse, _ = dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        alpha = inverse @ losses
        value = 0.5 * losses @ alpha + np.log(np.diag(factor)).sum()
        pull = 0.5 * (inverse - np.outer(alpha, alpha))
        weight = pull * (-(5 / 6) * (1 + distance) * decay)
        total, mixed = weight.sum(1), weight @ rows
        slope = np.zeros_like(theta)
        slope[:p] = -4 * self._by_owner @ (total @ rows**2 - (rows * mixed).sum(0))
        slope[p] = (pull * smooth).sum()
        slope[p + 1] = np.trace(pull) * noise
        if self._w:
            columns = self._warped
            a, b = self._exponents(theta)
            inside = np.clip(features[:, columns], 1e-6, 1 - 1e-6)
            power = inside**a
            left = np.maximum(1 - power, 1e-12)
            push = 4 * (total[:, None] * rows - mixed)[:, columns] / lengths[columns]
            by_a = (push * b * left ** (b - 1) * power * np.log(inside)).sum(0) * a
            by_b = -(push * left**b * np.log(left)).sum(0) * b
            slope[p + 2 :] = np.concatenate([by_a, by_b])
        off = (theta - self._prior) / self._width
        return float(value + 0.5 * off @ off), slope + off / self._width


def _squared_distances(left: Array, right: Array) -> Array:
    import numpy as np

    squared = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    result: Array = np.maximum(squared, 0.0)
    return result
