"""What there is to say of many runs at once, or of one at a glance: models of the REST API."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from hpo_lib.cli import answers
from hpo_lib.cli.answers import finite, plain
from hpo_lib.core.trial import Trial, TrialState
from hpo_lib.records import Model, ModelEvent
from hpo_lib.records.audit import AuditEntry


class Objective(BaseModel):
    """One objective; `direction` is null if the spec does not say which way it improves."""

    metric: str
    direction: str | None
    target: float | None


class RunRow(answers.Run):
    """A run with what its trials have come to; `trials` counts those of its search by state.

    `best` is the best value of the first objective, of several the size of the Pareto `front`
    says more. `expected_end` is when all trials have ended if these take as long as those before.
    `idle` is the share of the slots, 0 to 1, in which no attempt ran. Hours are of all attempts
    that have ended, final ones included; those of GPUs by what a trial asks for.
    """

    outcome: str
    objectives: list[Objective]
    max_trials: int | None
    parallel_trials: int | None
    trials: dict[TrialState, int]
    done: int
    reused: int
    finals: int
    best: float | None
    best_trial: int | None
    front: int
    expected_end: datetime | None
    idle: float | None
    trial_hours: float
    gpu_hours: float


class RunRows(BaseModel):
    """A page of runs, and how many there are on all pages."""

    runs: list[RunRow]
    total: int


class ExperimentRow(BaseModel):
    """An experiment with its newest run that the caller may see; `champion` is a version."""

    name: str
    team: str
    runs: int
    running: int
    newest: RunRow
    champion: int | None


class ExperimentRows(BaseModel):
    """A page of experiments, and how many there are on all pages."""

    experiments: list[ExperimentRow]
    total: int


class Leading(BaseModel):
    """A trial that no other one beats."""

    number: int
    value: float | None
    params: dict[str, Any]
    metrics: dict[str, float | None]
    broken: list[str] = Field(description="the constraints that it breaks, and by how much")

    @classmethod
    def of(cls, trial: Trial, broken: list[str]) -> Self:
        """Take a trial of the store."""
        return cls(
            number=trial.number,
            value=finite(trial.value),
            params=plain(trial.params),
            metrics={name: finite(value) for name, value in trial.metrics.items()},
            broken=broken,
        )


class Failure(BaseModel):
    """Trials that have failed alike; `line` is the one of the first trial's log that says why."""

    cause: str | None
    count: int
    trials: list[int]
    reason: str
    line: str


class Deed(BaseModel):
    """One line of the audit trail."""

    time: datetime
    by: str
    deed: str
    told: str

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Take an entry of the store."""
        return cls(time=entry.time, by=entry.by, deed=entry.deed, told=entry.told)


class Verdict(BaseModel):
    """What the gate said; `improvement` is positive where the challenger is better."""

    promote: bool
    asks: bool
    reason: str
    improvement: float | None
    error: float | None
    broken: list[str]


class Check(BaseModel):
    """A later run's check of a champion, in sentences; `then` and `now` are means over seeds."""

    run: int
    time: datetime
    metric: str
    then: float | None
    now: float | None
    sentences: list[str]


class ModelRow(BaseModel):
    """A model of an experiment: challenger, champion, or of the past, and why."""

    experiment: str
    version: int
    run: int
    trial: int = Field(description="the trial of the search that found the parameters")
    status: str
    reason: str
    created_at: datetime
    changed_at: datetime
    against: int | None
    served: bool
    approved: str | None
    awaits_approval: bool
    params: dict[str, Any]
    metrics: dict[str, float | None]
    verdict: Verdict | None
    checks: list[Check]

    @classmethod
    def of(cls, model: Model, *, awaits_approval: bool = False) -> Self:
        """Take a model of the store."""
        said = model.verdict
        names = ("experiment", "version", "status", "reason", "created_at", "changed_at",
                 "against", "served", "approved")  # fmt: skip
        return cls(
            **{name: getattr(model, name) for name in names},
            run=model.run_id,
            trial=model.source,
            awaits_approval=awaits_approval,
            params=plain(model.params),
            metrics={name: finite(value) for name, value in model.metrics.items()},
            verdict=None
            if said is None
            else Verdict(
                promote=said.promote,
                asks=said.asks,
                reason=said.reason,
                improvement=finite(said.improvement),
                error=finite(said.error),
                broken=list(said.broken),
            ),
            checks=[
                Check(
                    run=one.run,
                    time=one.time,
                    metric=one.metric,
                    then=None if one.then is None else finite(one.then.mean),
                    now=None if one.now is None else finite(one.now.mean),
                    sentences=list(one.sentences()),
                )
                for one in model.checks
            ],
        )


class Event(BaseModel):
    """What became of a model, when and why."""

    version: int
    status: str
    reason: str
    time: datetime

    @classmethod
    def of(cls, event: ModelEvent) -> Self:
        """Take an event of the store."""
        return cls(version=event.version, status=event.status, reason=event.reason, time=event.time)


class Champions(BaseModel):
    """The models of an experiment, the newest first, and what became of them, in order."""

    experiment: str
    champion: int | None
    models: list[ModelRow]
    events: list[Event]


class RunSummary(RunRow):
    """A run at a glance, while it runs and after; `version` differs once anything has changed.

    `params` and `metrics` name what its trials have. `leading` are the first of the trials that no
    other one beats. `advice` says what earlier runs told, `stopping` why no more trials begin,
    once that is decided.
    """

    version: str
    description: str
    sampler: str | None
    seed: int | None
    constraints: list[str]
    fixed: dict[str, Any]
    params: list[str]
    metrics: list[str]
    leading: list[Leading]
    failures: list[Failure]
    stopping: str | None
    advice: list[str]
    model: ModelRow | None
    audit: list[Deed]
    may: dict[str, bool] = Field(default_factory=dict, description="what the caller may do")


class TrialTable(BaseModel):
    """A page of trials, a row each with a value per column, and how many there are in all.

    A value that a trial does not have is null. `feasible` says which rows keep all constraints.
    """

    columns: list[str]
    rows: list[list[Any]]
    feasible: list[bool | None]
    total: int


class Standing(BaseModel):
    """A run beside others: the best value so far by trials done and by hours since its start."""

    run: RunRow
    leading: Leading | None
    trials: list[int]
    hours: list[float]
    best: list[float]


class Difference(BaseModel):
    """A part of the spec that is not the same in all the runs, by its path; a value per run."""

    path: str
    values: list[Any]


class Comparison(BaseModel):
    """Runs side by side, in the order in which they were asked for."""

    runs: list[Standing]
    differences: list[Difference]


class Narrower(BaseModel):
    """The space of a narrower run that follows, and what has changed, in words by parameter."""

    space: dict[str, Any]
    changes: dict[str, str]
    yaml: str


class NextSteps(BaseModel):
    """What to do next, in sentences; `more` says whether more trials are worth it.

    `mattered` is about parameters, `edges` about bounds at which the best trial lies. `importance`
    belongs to the document of charts, whose places it uses.
    """

    mattered: list[str]
    edges: list[str]
    more: list[str]
    resources: list[str]
    unsure: list[str]
    narrower: Narrower | None
    importance: list[dict[str, Any]]


class TasksTrials(BaseModel):
    """The run of a DAG run, and the trials of one of its task instances, by number."""

    run: int
    trials: list[int]
