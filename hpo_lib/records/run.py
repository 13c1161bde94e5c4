"""A run with its trials, as the store knows it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.teams import own_name
from hpo_lib.core.trial import Action, Observation, Origin, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.records.advice import Advice
from hpo_lib.records.attempt import Attempt
from hpo_lib.records.audit import AuditEntry
from hpo_lib.records.model import Model
from hpo_lib.records.provenance import Provenance
from hpo_lib.records.shown import NOTHING_SHOWN, Shown
from hpo_lib.records.stopped import by_whom, outcome
from hpo_lib.spec import Spec, stored
from hpo_lib.spec.outline import Outline


class RunStatus(StrEnum):
    """Where a run is; only RUNNING is not final."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run's name in the outside world: one Airflow DAG run is one run."""

    dag_id: str
    dag_run_id: str


@dataclass(frozen=True)
class Run:
    """One execution of an experiment.

    `document` is the spec in its canonical plain form, empty when the run was refused: it is kept
    and shown; code reads `spec` or `outline`. `advice` is what earlier runs told this one when it
    began. Runs of one `fingerprint` share the results of their trials. `experiment` is the full
    name, which begins with the `team` if there is one. `closed` says from when to when the run had
    ended before it was extended.
    """

    id: int
    key: RunKey
    experiment: str
    status: RunStatus
    document: Mapping[str, Any]
    reason: str | None
    triggered_by: str
    provenance: Provenance
    started_at: datetime
    ended_at: datetime | None = None
    advice: Advice = field(default_factory=Advice)
    fingerprint: str | None = None
    team: str = ""
    closed: Sequence[tuple[datetime, datetime]] = ()

    def open_s(self, at: datetime) -> float:
        """Give for how many seconds the run had been open at a time.

        What lay between an end and the extension that followed is no run time.
        """
        gone = [(min(at, until) - since).total_seconds() for since, until in self.closed]
        shut_s = math.fsum(max(0.0, each) for each in gone)
        return max(0.0, (at - self.started_at).total_seconds() - shut_s)

    @cached_property
    def spec(self) -> Spec:
        """The run's spec; SpecError if the run was refused, or if the spec is no longer valid."""
        if self.status is RunStatus.REFUSED:
            raise SpecError(f"run {self.id} was refused, it has no trials: {self.reason}")
        return stored(self.document)

    @property
    def stopped_by(self) -> str | None:
        """Who has stopped or cancelled the run; None while it runs, and if nobody has."""
        return None if self.status is RunStatus.RUNNING else by_whom(self.reason)

    @property
    def outcome(self) -> str:
        """Its status as people read it: `complete`, or who has stopped it before it was."""
        return outcome(self.status, self.stopped_by)

    @cached_property
    def outline(self) -> Outline:
        """What the spec says as far as it can be read; empty for a run that was refused."""
        return Outline.of(self.document)


@dataclass(frozen=True, slots=True)
class Past:
    """A complete run with its trials, and how long ago it ended."""

    run: Run
    trials: Sequence[Trial]
    age_s: float


@dataclass(frozen=True, slots=True)
class TrialDecision:
    """What a scheduler has decided about a trial, and why: PROMOTE, to a resource, or STOP."""

    trial: int
    action: Action
    reason: str
    resource: float | None
    time: datetime


@dataclass(frozen=True, slots=True)
class TrialView:
    """A trial with the slot that it was last given to, its attempts by number, and a series.

    `observations` are those of the newest attempt, `shown` the last of them while it runs.
    """

    trial: Trial
    slot: str
    attempts: Sequence[Attempt] = ()
    observations: Sequence[Observation] = ()
    shown: Shown = NOTHING_SHOWN


@dataclass(frozen=True, slots=True)
class Looked:
    """Whose observations a view is read with: all of some trials, of others a metric's ends.

    The ends are the first observation and the last; without `ends_of` others have none.
    """

    trials: Collection[int] = ()
    ends_of: str | None = None


@dataclass(frozen=True)
class RunView:
    """A whole run, trials by number, and how they stand by the run's goal.

    `trials` are those of the search, `finals` those of the final training. `champion` is the model
    whose configuration the run has trained again to check it. `decisions` are the scheduler's, in
    their order, `audit` is who did what to the run.
    """

    run: Run
    trials: Sequence[TrialView] = field(default=())
    finals: Sequence[TrialView] = field(default=())
    model: Model | None = None
    champion: Model | None = None
    decisions: Sequence[TrialDecision] = field(default=())
    audit: Sequence[AuditEntry] = field(default=())

    @cached_property
    def goal(self) -> Goal | None:
        """What the run is after; None if its spec does not say."""
        return self.run.outline.goal

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


def spec_of(run: Run, trial: Trial) -> Spec:
    """Give the spec as one of the run's trials has it."""
    return run.spec.for_final if trial.origin is Origin.FINAL else run.spec


def slug_of(run: Run) -> str:
    """Name a run's folder: its number and its experiment's name, which the spec has checked."""
    return f"{run.id:06d}-{own_name(run.experiment)}"


def attempt_uri(uri: str, run: Run, trial: int, attempt: int) -> str:
    """Name an attempt's folder below the URI of a spec's artifacts, apart from other stores'."""
    return f"{run_uri(uri, run)}/trial-{trial:04d}/attempt-{attempt}"


def run_uri(uri: str, run: Run) -> str:
    """Name a run's folder below the URI of a spec's artifacts."""
    tag = run.provenance.store[:6]
    own = f"run-{run.id:06d}-{tag}" if tag else f"run-{run.id:06d}"
    return f"{uri}/{run.experiment}/{own}"
