"""An example of a trial, which needs nothing but Python: `python -m hpo_lib.runtime.example`.

It fits a polynomial to a wave by gradient descent. How well that goes depends on its parameters
`learning_rate`, `momentum` and `degree`, which it gets from HPO_PARAMS, as any trial does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_lib import runtime

_DEFAULTS = {"learning_rate": 0.1, "momentum": 0.5, "degree": 5, "epochs": 30}
_TRAIN = [point / 20 for point in range(-20, 21)]
_UNSEEN = [point + 0.025 for point in _TRAIN[:-1]]


def main() -> None:
    """Fit, and report after each epoch how well the wave is met, on points seen and unseen."""
    asked = _DEFAULTS | runtime.params()
    weights = [0.0] * (asked["degree"] + 1)
    speed = list(weights)
    for epoch in range(1, asked["epochs"] + 1):
        for power, slope in enumerate(_slopes(weights)):
            speed[power] = asked["momentum"] * speed[power] - asked["learning_rate"] * slope
            weights[power] += speed[power]
        runtime.report(step=epoch, loss=_loss(weights, _TRAIN), val_loss=_loss(weights, _UNSEEN))


def _wave(x: float) -> float:
    return math.sin(3 * x)


def _error(weights: Sequence[float], x: float) -> float:
    fitted = sum(weight * x**power for power, weight in enumerate(weights))
    return max(-1e6, min(fitted - _wave(x), 1e6))


def _loss(weights: Sequence[float], points: Sequence[float]) -> float:
    return sum(_error(weights, x) ** 2 for x in points) / len(points)


def _slopes(weights: Sequence[float]) -> list[float]:
    errors = [(x, 2 * _error(weights, x) / len(_TRAIN)) for x in _TRAIN]
    return [sum(error * x**power for x, error in errors) for power in range(len(weights))]


if __name__ == "__main__":
    main()
