"""A model's sample: a few inputs, and what the model said of them when it was trained.

    {"instances": [[5.1, 3.5], [6.2, 2.9]], "predictions": [[0.9, 0.1], [0.2, 0.8]]}

Training leaves it as `sample.json` beside the model. What serves the model has to say the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from hpo_lib.deployers import Check
from hpo_lib.validation import shown

SAMPLE = "sample.json"
#: How far an answer may lie from that of the training, which may have had other hardware: as a
#: share of it, and near 0 in itself.
_SHARE, TOLERANCE = 1e-3, 1e-4
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
        found = _read(answer)
        answers = found.get("predictions") if isinstance(found, Mapping) else None
        if not isinstance(answers, list):
            start = shown(answer[:200].decode(errors="replace"))
            return Check(f"its answer must list predictions, got {start}")
        if len(answers) != len(self.predictions):
            wanted = len(self.predictions)
            return Check(f"its answer must have {wanted} predictions, got {len(answers)}")
        for row, (got, wanted) in enumerate(zip(answers, self.predictions, strict=True)):
            if not _alike(got, wanted):
                return Check(
                    f"its prediction for row {row} of {SAMPLE} must be about {shown(wanted)}, "
                    f"got {shown(got)}"
                )
        return Check()


def read_sample(content: bytes | None) -> Sample:
    """Read `sample.json`; ValueError says what is wrong with it."""
    if content is None:
        raise ValueError(f"the model has no {SAMPLE} to be tried with")
    found = _read(content)
    if not isinstance(found, Mapping):
        raise ValueError(f"{SAMPLE}: {_FORM}")
    rows, answers = found.get("instances"), found.get("predictions")
    if not (isinstance(rows, list) and rows and _is_as_long(answers, rows)):
        raise ValueError(f"{SAMPLE}: {_FORM}")
    return Sample(rows, answers)


def _read(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _alike(got: Any, wanted: Any) -> bool:
    """Say whether two plain values are the same but for the rounding of numbers."""
    if isinstance(wanted, list):
        pairs = zip(got, wanted, strict=True) if _is_as_long(got, wanted) else None
        return pairs is not None and all(_alike(*pair) for pair in pairs)
    if isinstance(wanted, Mapping):
        same = isinstance(got, Mapping) and got.keys() == wanted.keys()
        return same and all(_alike(got[name], wanted[name]) for name in wanted)
    if _is_number(got) and _is_number(wanted):
        return math.isclose(got, wanted, rel_tol=_SHARE, abs_tol=TOLERANCE)
    return bool(got == wanted)


def _is_as_long(got: Any, wanted: list[Any]) -> TypeGuard[list[Any]]:
    return isinstance(got, list) and len(got) == len(wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
