"""What an attempt by `CheckpointCallback` has trained, by what it has printed."""

from __future__ import annotations

import re

_GOES_ON = "The training goes on after epoch"
_STEP = re.compile(r"^step=(\d+) ", re.M)


def trained_in(log: str) -> list[int]:
    """List the epochs that an attempt has trained itself: those before are reported again first."""
    before, goes_on, after = log.partition(_GOES_ON)
    return [int(step) for step in _STEP.findall(after if goes_on else before)]
