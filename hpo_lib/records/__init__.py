"""What the store remembers, as plain values: what reports, commands and tasks read."""

from __future__ import annotations

from hpo_lib.records.advice import Advice, Told
from hpo_lib.records.attempt import UNREAD, Attempt, AttemptState, Outcome
from hpo_lib.records.model import Model, ModelEvent, ModelStatus
from hpo_lib.records.run import (
    STORE,
    Past,
    Run,
    RunKey,
    RunStatus,
    RunView,
    TrialDecision,
    TrialView,
    attempt_uri,
    slug_of,
    spec_of,
)

__all__ = [
    "STORE",
    "UNREAD",
    "Advice",
    "Attempt",
    "AttemptState",
    "Model",
    "ModelEvent",
    "ModelStatus",
    "Outcome",
    "Past",
    "Run",
    "RunKey",
    "RunStatus",
    "RunView",
    "Told",
    "TrialDecision",
    "TrialView",
    "attempt_uri",
    "slug_of",
    "spec_of",
]
