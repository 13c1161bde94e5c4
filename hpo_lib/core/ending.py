"""How an attempt came to its end: the words that every backend shares, and the cause they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hpo_lib.core.trial import Cause


class Ending(StrEnum):
    """How an attempt came to its end.

    UNSTARTABLE: what it asks for cannot run at all. FAILED: it failed, but gives no reason.
    """

    EXITED = "exited"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    OUT_OF_MEMORY = "out_of_memory"
    LOG_TOO_LARGE = "log_too_large"
    STOPPED = "stopped"
    ABANDONED = "abandoned"
    FAILED = "failed"
    UNSTARTABLE = "unstartable"
    IMAGE_NOT_PULLABLE = "image_not_pullable"
    UNSCHEDULABLE = "unschedulable"
    PREEMPTED = "preempted"
    EVICTED = "evicted"
    NODE_LOST = "node_lost"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of an attempt; a negative code is the signal that ended it, as in subprocess.

    `log_gap` says what of its log is missing, if some of it could not be kept.
    """

    ending: Ending
    code: int | None = None
    detail: str = ""
    log_gap: str = ""


#: The cause of failure that an ending means; EXITED alone means none.
CAUSES: Mapping[Ending, Cause] = {
    Ending.TIMEOUT: Cause.TIMEOUT,
    Ending.STALLED: Cause.STALLED,
    Ending.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    Ending.LOG_TOO_LARGE: Cause.USER_ERROR,
    Ending.FAILED: Cause.USER_ERROR,
    Ending.UNSTARTABLE: Cause.USER_ERROR,
    Ending.STOPPED: Cause.STOPPED,
    Ending.ABANDONED: Cause.STOPPED,
    Ending.IMAGE_NOT_PULLABLE: Cause.IMAGE_NOT_PULLABLE,
    Ending.UNSCHEDULABLE: Cause.UNSCHEDULABLE,
    Ending.PREEMPTED: Cause.PREEMPTED,
    Ending.EVICTED: Cause.EVICTED,
    Ending.NODE_LOST: Cause.NODE_LOST,
    Ending.LOST: Cause.LOST,
}
