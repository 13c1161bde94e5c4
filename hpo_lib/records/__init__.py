"""What the store remembers, as plain values: what reports, commands and tasks read."""

from __future__ import annotations

from hpo_lib.records.advice import Advice, Told
from hpo_lib.records.attempt import UNREAD, Attempt, AttemptState, Outcome
from hpo_lib.records.manifest import Manifest
from hpo_lib.records.model import Model, ModelEvent, ModelStatus, Trained
from hpo_lib.records.provenance import Provenance
from hpo_lib.records.run import (
    Looked,
    Past,
    Run,
    RunKey,
    RunStatus,
    RunView,
    TrialDecision,
    TrialView,
    attempt_uri,
    run_uri,
    slug_of,
    spec_of,
)

__all__ = [
    "UNREAD",
    "Advice",
    "Attempt",
    "AttemptState",
    "Looked",
    "Manifest",
    "Model",
    "ModelEvent",
    "ModelStatus",
    "Outcome",
    "Past",
    "Provenance",
    "Run",
    "RunKey",
    "RunStatus",
    "RunView",
    "Told",
    "Trained",
    "TrialDecision",
    "TrialView",
    "attempt_uri",
    "run_uri",
    "slug_of",
    "spec_of",
]
