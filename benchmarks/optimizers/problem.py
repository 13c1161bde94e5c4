"""What a problem is, and short ways to write its space."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Params = Mapping[str, Any]
Spec = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Problem:
    """A loss to minimise over a space written as in docs/spec.md.

    `loss` is deterministic and gives NaN where the training fails; `noise` is the standard
    deviation of what every measurement adds to it.
    """

    name: str
    space: Spec
    loss: Callable[[Params], float]
    noise: float = 0.0

    def evaluate(self, params: Params, seed: int) -> float:
        """Give what a run with this seed measures: the same for the same active `params`."""
        return self.measured(self.true(params), params, seed)

    def measured(self, true: float, params: Params, seed: int) -> float:
        """Add the noise to a true loss."""
        if not self.noise:
            return true
        text = json.dumps([self.name, seed, dict(params)], sort_keys=True)
        draw = random.Random(hashlib.sha256(text.encode()).digest())
        return true + draw.gauss(0.0, self.noise)

    def true(self, params: Params) -> float:
        """Give the loss without noise, which is what scores are about."""
        value = float(self.loss(params))
        return value if math.isfinite(value) else math.nan


def real(low: float, high: float, scale: str = "linear", **more: Any) -> dict[str, Any]:
    """Write a float parameter."""
    return {"type": "float", "low": low, "high": high, "scale": scale, **more}


def whole(low: int, high: int, scale: str = "linear", **more: Any) -> dict[str, Any]:
    """Write an int parameter."""
    return {"type": "int", "low": low, "high": high, "scale": scale, **more}


def choice(*choices: Any, **more: Any) -> dict[str, Any]:
    """Write a categorical parameter."""
    return {"type": "categorical", "choices": list(choices), **more}


def ordinal(*choices: float, **more: Any) -> dict[str, Any]:
    """Write an ordinal parameter."""
    return {"type": "ordinal", "choices": list(choices), **more}


def dummies(count: int) -> Spec:
    """Write `count` parameters of mixed types that nothing reads."""
    kinds = (real(0.0, 1.0), real(1e-4, 1.0, "log"), whole(1, 100), choice("a", "b", "c"))
    return {f"idle{index}": dict(kinds[index % len(kinds)]) for index in range(count)}
