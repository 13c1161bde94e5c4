"""One try of one trial, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hpo_lib.core.trial import Cause, Observation

#: Causes of a trial that ended well, but whose metrics were not found: they can be read again.
UNREAD = frozenset({Cause.OBJECTIVE_MISSING, Cause.OBJECTIVE_NOT_FINITE})


class AttemptState(StrEnum):
    """Where an attempt is; only RUNNING is not final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one trial; `handle` is what its backend needs to find it again.

    `resource` is what it was to reach, None if its trial has no rungs.
    """

    id: int
    run_id: int
    trial: int
    number: int
    handle: Mapping[str, Any]
    state: AttemptState
    started_at: datetime
    cause: Cause | None = None
    reason: str | None = None
    exit_code: int | None = None
    ended_at: datetime | None = None
    resource: float | None = None
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: succeeded with a value, or failed with cause and reason.

    `metrics` are the reduced values by name; `observations` the series they come from.
    """

    state: AttemptState
    reason: str
    value: float | None = None
    cause: Cause | None = None
    exit_code: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    observations: Sequence[Observation] = ()
    log_tail: str = ""
