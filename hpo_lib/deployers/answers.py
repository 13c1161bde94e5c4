"""Checks that a server's answers come from the version of the model that was asked for.

The paths are those of TensorFlow Serving's REST API, which `docker/serve` has too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo_lib.deployers import Check
from hpo_lib.validation import shown

#: An answer's header with the version that gave it; TensorFlow Serving has none.
HEADER = "X-Model-Version"


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


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _start(body: bytes) -> str:
    return shown(body[:200].decode(errors="replace"))
