"""What the store remembers, as plain values: what reports, tables and watchers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from hpo_lib.goal import Goal
from hpo_lib.trial import Cause, Observation, Trial, TrialState

#: Causes of a trial that ended well, but whose metrics were not found: they can be read again.
UNREAD = frozenset({Cause.OBJECTIVE_MISSING, Cause.OBJECTIVE_NOT_FINITE})


class RunStatus(StrEnum):
    """Where a run is; only RUNNING is not final."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    REFUSED = "refused"


class AttemptState(StrEnum):
    """Where an attempt is; only RUNNING is not final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run's name in the outside world: one Airflow DAG run is one run."""

    dag_id: str
    dag_run_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of an experiment; `spec` is its canonical plain form, empty when refused.

    `earlier` is the plain form of what advises it (`hpo_lib.warmstart`), kept when it began; so is
    `fingerprint`: results of trials are shared by runs that have the same one.
    """

    id: int
    key: RunKey
    experiment: str
    status: RunStatus
    spec: Mapping[str, Any]
    reason: str | None
    triggered_by: str
    provenance: Mapping[str, str]
    started_at: datetime
    ended_at: datetime | None = None
    earlier: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A complete run with its trials, and how long ago it ended."""

    run: Run
    trials: Sequence[Trial]
    age_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one trial; `handle` is what its backend needs to find it again."""

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
    log_tail: str = ""


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
    plain JSON; a champion's verdict has besides what later nights saw of it (`hpo_lib.drift`).
    `reason` says why the model is what it is.
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


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial with its place, its attempts by number and the observations of the last of them."""

    trial: Trial
    slot: str
    attempts: Sequence[Attempt] = ()
    observations: Sequence[Observation] = ()


@dataclass(frozen=True)
class RunView:
    """A whole run, trials by number, and how they stand by the run's goal.

    `trials` are those of the search; `finals`, of the final training, are no part of it. `champion`
    is the one that the run has trained again, and noted something of.
    """

    run: Run
    trials: Sequence[TrialView] = field(default=())
    finals: Sequence[TrialView] = field(default=())
    model: Model | None = None
    champion: Model | None = None

    @cached_property
    def goal(self) -> Goal | None:
        """What the run is after; None if its spec does not say."""
        return Goal.read(self.run.spec)

    @cached_property
    def front(self) -> list[int]:
        """The numbers of the trials on the Pareto front: of one objective, the best one's."""
        return [trial.number for trial in self.goal.front(self._tried)] if self.goal else []

    @cached_property
    def feasible(self) -> list[int]:
        """The numbers of the complete trials that keep every constraint."""
        if self.goal is None:
            return []
        complete = (trial for trial in self._tried if trial.state is TrialState.COMPLETE)
        return [trial.number for trial in complete if self.goal.feasible(trial)]

    @property
    def _tried(self) -> list[Trial]:
        return [view.trial for view in self.trials]


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
