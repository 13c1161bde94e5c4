"""When a trial is retried after a failure: the one table that every backend shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo_lib.core.trial import Cause

#: How often one trial may fall victim to the infrastructure before it counts as failed.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How many attempts a trial has if the last one failed so, and the pause before another.

    `counts`: a trial that fails for good counts against `limits.max_failed_trials`.
    """

    attempts: float = 1
    delay_s: float = 0.0
    counts: bool = True


_OWN_FAULT = RetryRule()
#: Perhaps a registry or a cluster that is busy, perhaps a name or a size that is wrong.
_UNSURE = RetryRule(attempts=2, delay_s=30.0)
_WORLD = RetryRule(attempts=MAX_ATTEMPTS, delay_s=5.0, counts=False)
#: Nobody waited for it: Airflow was gone, or its task was cleared. Airflow has its own limit.
_UNWATCHED = RetryRule(attempts=math.inf, delay_s=5.0, counts=False)

RULES: Mapping[Cause, RetryRule] = {
    Cause.USER_ERROR: _OWN_FAULT,
    Cause.OUT_OF_MEMORY: _OWN_FAULT,
    Cause.TIMEOUT: _OWN_FAULT,
    Cause.OBJECTIVE_MISSING: _OWN_FAULT,
    Cause.OBJECTIVE_NOT_FINITE: _OWN_FAULT,
    Cause.KILLED_BY_OPERATOR: _OWN_FAULT,
    Cause.IMAGE_NOT_PULLABLE: _UNSURE,
    Cause.UNSCHEDULABLE: _UNSURE,
    Cause.PREEMPTED: _WORLD,
    Cause.EVICTED: _WORLD,
    Cause.NODE_LOST: _WORLD,
    Cause.LOST: _WORLD,
    Cause.STOPPED: _UNWATCHED,
}


def counts(cause: Cause | None) -> bool:
    """Say whether a failed trial counts against the failure budget."""
    return cause is None or RULES[cause].counts


def again(cause: Cause | None, before: Sequence[Cause | None] = ()) -> bool:
    """Say whether a trial whose attempt failed so, after others, is attempted once more."""
    used = 1 + sum(one is not Cause.STOPPED for one in before)
    return cause is not None and used < RULES[cause].attempts


def is_last(attempt: int) -> bool:
    """Say whether an attempt is the last that the infrastructure may spoil: no spot for it."""
    return attempt >= MAX_ATTEMPTS
