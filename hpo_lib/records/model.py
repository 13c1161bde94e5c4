"""A model that final training made: challenger, champion, or of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hpo_lib.core.trial import Params
from hpo_lib.evaluation.drift import ChampionCheck
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records.manifest import Manifest
from hpo_lib.spec.sections import Deploy


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
    compared with, `served` whether it has been seen serving well. `approved` says who has approved
    it, `checks` are later runs' champion checks, by run. `reason` says why the model is what it is.
    """

    experiment: str
    version: int
    run_id: int
    source: int
    params: Params
    status: ModelStatus
    reason: str
    created_at: datetime
    changed_at: datetime
    against: int | None = None
    served: bool = False
    trial: int | None = None
    files: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    verdict: Verdict | None = None
    approved: str | None = None
    checks: Sequence[ChampionCheck] = ()

    @property
    def awaits_verdict(self) -> bool:
        """Say whether the gate has yet to judge it."""
        return self.status is ModelStatus.CHALLENGER and self.verdict is None

    @property
    def verdict_reason(self) -> str:
        """What the gate said; empty if it has yet to judge the model."""
        return "" if self.verdict is None else self.verdict.reason

    @property
    def promising(self) -> bool:
        """Say whether the gate wants it promoted, be it only if people approve."""
        return self.verdict is not None and self.verdict.promising

    def needs_approval(self, deploy: Deploy | None) -> bool:
        """Say whether people have to approve it before it is deployed, as its spec says."""
        if self.verdict is None or deploy is None or self.status is not ModelStatus.CHALLENGER:
            return False
        return self.promising and (self.verdict.asks or deploy.approval == "manual")

    def check_of(self, run_id: int) -> ChampionCheck | None:
        """Give the champion check of a run, None if it has made none."""
        return next((one for one in self.checks if one.run == run_id), None)


@dataclass(frozen=True, slots=True)
class Trained:
    """What final training made: its files, at a URI or a path (empty: none), by which trial."""

    trial: int
    files: str
    metrics: Mapping[str, float]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One change of a model's status, for its history."""

    version: int
    status: ModelStatus
    reason: str
    time: datetime
