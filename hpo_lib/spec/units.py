"""Durations and amounts of memory, as specs write them."""

from __future__ import annotations

import re
from typing import Any

from hpo_lib.validation import rule, shown

_RULE = "must be a duration such as 90s, 30m, 6h or 1d"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_SECONDS = 366 * 86400
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?", re.ASCII)
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MAX_MEMORY = 2**50
_BYTES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def with_unit(value: Any) -> Any:
    """Refuse a number before it is refused as no text, which would ask for no unit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise rule(f"{_RULE}, got {shown(value)}")
    return value


def seconds(text: str) -> float:
    """Read a duration such as 90s, 30m, 6h or 1.5d."""
    match = _DURATION.fullmatch(text)
    if not match or float(match[1]) <= 0:
        raise rule(f"{_RULE}, got {shown(text)}")
    duration = float(match[1]) * _SECONDS[match[2]]
    if duration > _MAX_SECONDS:
        raise rule(f"must be at most 366d, got {shown(text)}")
    return duration


def memory_bytes(text: str) -> int:
    """Read an amount of memory such as 512Mi, 16Gi or 2G."""
    match = _MEMORY.fullmatch(text)
    if not match or float(match[1]) <= 0:
        raise rule(f"must be an amount such as 512Mi, 16Gi or 2G, got {shown(text)}")
    size = float(match[1]) * _BYTES[match[2] or ""]
    if size > _MAX_MEMORY:
        raise rule(f"must be at most 1024Ti, got {shown(text)}")
    return int(size)
