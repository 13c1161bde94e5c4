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
    """How many attempts a trial has in all after such a failure, and the pause before the next.

    `counts`: a trial that fails for good counts against `limits.max_failed_trials`.
    """

    attempts: float = 1
    delay_s: float = 0.0
    counts: bool = True


_OWN_FAULT = RetryRule()
#: Either a registry or a cluster is busy, or a name or a size is wrong.
_UNSURE = RetryRule(attempts=2, delay_s=30.0)
_WORLD = RetryRule(attempts=MAX_ATTEMPTS, delay_s=5.0, counts=False)
#: Nobody waited for the attempt: Airflow was gone, or its task cleared. Airflow limits retries.
_UNWATCHED = RetryRule(attempts=math.inf, delay_s=5.0, counts=False)

RULES: Mapping[Cause, RetryRule] = {
    Cause.USER_ERROR: _OWN_FAULT,
    Cause.OUT_OF_MEMORY: _OWN_FAULT,
    Cause.TIMEOUT: _OWN_FAULT,
    Cause.STALLED: _OWN_FAULT,
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
    """Say whether a trial whose attempt failed by `cause`, after `before`, gets another one."""
    used = 1 + sum(one is not Cause.STOPPED for one in before)
    return cause is not None and used < RULES[cause].attempts


def is_last(attempt: int) -> bool:
    """Say whether losing this attempt would fail its trial, so that it must not run on spot."""
    return attempt >= MAX_ATTEMPTS
