"""What a served model has to answer: the version it says it is, and the sample of its training.

The paths are those of TensorFlow Serving's REST API, which `docker/serve` has too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_lib.deployers import Check
from hpo_lib.validation import shown

#: The file in a model's folder with a few rows and what the model said of them.
SAMPLE = "sample.json"
#: An answer's header with the version that gave it; TensorFlow Serving has none.
HEADER = "X-Model-Version"
_NEAR, _NEAR_0 = 1e-3, 1e-4


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows, and what the model said of them when it was saved."""

    instances: Sequence[Any]
    predictions: Sequence[Any]

    @classmethod
    def read(cls, content: bytes) -> Sample | None:
        """Read the file; None if it is not what it should be."""
        found = _json(content)
        if not isinstance(found, Mapping):
            return None
        rows, wanted = found.get("instances"), found.get("predictions")
        if not (isinstance(rows, list) and isinstance(wanted, list) and rows):
            return None
        return cls(rows, wanted)

    def request(self) -> bytes:
        """Write the request for these rows."""
        return json.dumps({"instances": self.instances}).encode()


def status_path(name: str) -> str:
    """Give the path that says which version is there."""
    return f"/v1/models/{name}"


def predict_path(name: str) -> str:
    """Give the path that answers rows."""
    return f"/v1/models/{name}:predict"


def check_status(body: bytes, version: int) -> Check:
    """Check that a server has this version, and no other one, ready."""
    found = _json(body)
    listed = found.get("model_version_status") if isinstance(found, Mapping) else None
    if not isinstance(listed, list):
        return Check(f"its status must list model_version_status, got {_start(body)}")
    ready = [one.get("version") for one in listed if isinstance(one, Mapping) and _ready(one)]
    if ready != [str(version)]:
        return Check(f"version {version} must be what is available, got {shown(listed)}")
    return Check()


def _ready(status: Mapping[str, Any]) -> bool:
    return status.get("state") == "AVAILABLE"


def check_header(headers: Mapping[str, str], version: int) -> Check:
    """Check which version an answer is from, if it says so."""
    found = headers.get(HEADER)
    if found in (None, str(version)):
        return Check()
    return Check(f"version {version} was asked, version {found} answered")


def check_predictions(body: bytes, sample: Sample) -> Check:
    """Check that an answer is, but for rounding, what the model said when it was saved."""
    found = _json(body)
    answers = found.get("predictions") if isinstance(found, Mapping) else None
    if not isinstance(answers, list):
        return Check(f"its answer must list predictions, got {_start(body)}")
    if len(answers) != len(sample.predictions):
        wanted = len(sample.predictions)
        return Check(f"its answer must have {wanted} predictions, got {len(answers)}")
    for number, (got, wanted) in enumerate(zip(answers, sample.predictions, strict=True)):
        if not _alike(got, wanted):
            return Check(
                f"its prediction for row {number} of {SAMPLE} must be about {shown(wanted)}, "
                f"got {shown(got)}"
            )
    return Check()


def _alike(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(got) == len(wanted)
            and all(_alike(*pair) for pair in zip(got, wanted, strict=True))
        )
    if isinstance(wanted, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == wanted.keys()
            and all(_alike(got[name], wanted[name]) for name in wanted)
        )
    if _is_number(got) and _is_number(wanted):
        return math.isclose(got, wanted, rel_tol=_NEAR, abs_tol=_NEAR_0)
    return bool(got == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _start(body: bytes) -> str:
    return shown(body[:200].decode(errors="replace"))
