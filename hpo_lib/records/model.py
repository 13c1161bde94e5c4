"""A model that final training made: challenger, champion, or of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ModelStatus(StrEnum):
    """Where a model is: a CHALLENGER becomes CHAMPION or REJECTED, a champion RETIRED.

    Of an experiment's models at most one is the champion.
    """

    CHALLENGER = "challenger"
    CHAMPION = "champion"
    RETIRED = "retired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Model:
    """What a run's final training made; `version` counts the models of its experiment from 1.

    `source` is the trial that found the parameters, `trial` the final one whose files these are, at
    `files`: a URI or a path, empty until they are there. `against` is the champion that it was
    compared with, `served` whether it has been seen serving well. `manifest` and `verdict` are
    plain JSON; a champion's verdict has besides what later nights saw of it
    (`hpo_lib.evaluation.drift`). `reason` says why the model is what it is.
    """

    experiment: str
    version: int
    run_id: int
    source: int
    params: Mapping[str, Any]
    status: ModelStatus
    reason: str
    created_at: datetime
    changed_at: datetime
    against: int | None = None
    served: bool = False
    trial: int | None = None
    files: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None

    @property
    def awaits_verdict(self) -> bool:
        """Say whether the gate has yet to judge it."""
        return self.status is ModelStatus.CHALLENGER and self.verdict is None


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One change of a model's status, for its history."""

    version: int
    status: ModelStatus
    reason: str
    time: datetime
