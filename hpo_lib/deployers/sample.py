"""A model's sample: a few inputs, and what the model said of them when it was trained.

    {"instances": [[5.1, 3.5], [6.2, 2.9]], "predictions": [[0.9, 0.1], [0.2, 0.8]]}

Training leaves it as `sample.json` beside the model. What serves the model has to say the same.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from hpo_lib.deployers import Check

SAMPLE = "sample.json"
#: How far an answer may lie from that of the training, which may have had other hardware.
TOLERANCE = 1e-3
_FORM = 'must hold {"instances": [...], "predictions": [...]}, equally many of both'


class Sample(NamedTuple):
    """Inputs and answers, one each."""

    instances: list[Any]
    predictions: list[Any]

    @property
    def request(self) -> bytes:
        """The body of a request as TensorFlow Serving, MLflow and SageMaker take it."""
        return json.dumps({"instances": self.instances}).encode()

    def check(self, answer: bytes) -> Check:
        """Compare what a server has answered to `request`."""
        try:
            found = json.loads(answer)["predictions"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return Check(f"its answer holds no predictions: {answer[:80]!r}")
        worst = _distance(found, self.predictions)
        if worst <= TOLERANCE:
            return Check()
        far = f"by up to {worst:.3g}" if math.isfinite(worst) else "in shape or kind"
        return Check(f"its answers differ from those of the training {far}")


def read_sample(content: bytes | None) -> Sample:
    """Read `sample.json`; ValueError says what is wrong with it."""
    if content is None:
        raise ValueError(f"the model has no {SAMPLE} to be tried with")
    try:
        found = json.loads(content)
        sample = Sample(found["instances"], found["predictions"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{SAMPLE}: {_FORM}") from None
    if not all(isinstance(part, list) and part for part in sample):
        raise ValueError(f"{SAMPLE}: {_FORM}")
    if len(sample.instances) != len(sample.predictions):
        raise ValueError(f"{SAMPLE}: {_FORM}")
    return sample


def _distance(one: Any, other: Any) -> float:
    """Give the largest difference between two nested lists; infinite if they are not alike."""
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return math.inf
        return max(map(_distance, one, other), default=0.0)
    if one == other:
        return 0.0
    if not all(isinstance(value, int | float) for value in (one, other)):
        return math.inf
    gap = abs(one - other)
    return math.inf if math.isnan(gap) else gap
