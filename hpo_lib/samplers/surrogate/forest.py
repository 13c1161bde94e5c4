"""Extremely randomized trees with the face of a `Process`: for losses that jump.

Geurts, Ernst, Wehenkel 2006, "Extremely randomized trees"; forests as models: SMAC (Hutter, Hoos,
Leyton-Brown 2011). Arrays are named as in `gaussian`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_TREES, _SPLIT, _FEATURES = 30, 3, 0.8
#: What trees that agree leave in doubt; and how far a belief reaches, and how much it settles.
_DOUBT, _REACH, _SETTLED = 0.01, 0.15, 0.8


class Forest:
    """Means and variances are over the trees; a belief settles the neighbourhood of its place."""

    def __init__(self, features: Array, losses: Array, seed: int) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        forest = ExtraTreesRegressor(
            _TREES, min_samples_split=_SPLIT, max_features=_FEATURES, random_state=seed
        ).fit(features, losses)
        self._trees = [each.tree_ for each in forest.estimators_]
        self._believed: list[Array] = []

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Give mean and variance of the loss, (c,) each."""
        import numpy as np

        rows = np.ascontiguousarray(features, dtype=np.float32)
        told = np.array([tree.predict(rows)[:, 0] for tree in self._trees])
        variance = told.var(axis=0) + _DOUBT
        for place in self._believed:
            distance = np.abs(features - place).sum(axis=1) / features.shape[1] ** 0.5
            variance *= 1 - _SETTLED * np.exp(-((distance / _REACH) ** 2))
        return told.mean(axis=0), variance

    def mean(self, features: Array) -> Array:
        """Give the mean alone, (c,)."""
        return self.predict(features)[0]

    def watch(self, features: Array) -> None:
        """Name the features that `watched` is about."""
        self._watched = features

    @property
    def watched(self) -> tuple[Array, Array]:
        """Mean and variance at the watched features."""
        return self.predict(self._watched)

    def believe(self, feature: Array) -> None:
        """Add an observation equal to the mean at `feature`, (f,): only the variance shrinks."""
        self._believed.append(feature)
