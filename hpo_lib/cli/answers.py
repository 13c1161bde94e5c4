"""What there is to say of runs: the models that the REST API's OpenAPI document is made of.

JSON has no number for NaN and infinity: where a value is one of these, it is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, Field, RootModel

from hpo_lib.core.trial import Observation as Seen
from hpo_lib.core.trial import TrialState
from hpo_lib.records import Attempt as Tried
from hpo_lib.records import Run as StoredRun
from hpo_lib.records import RunStatus, TrialView
from hpo_lib.store.listing import ExperimentRow


def finite(value: float | None) -> float | None:
    """Give a number that JSON has; None for any other."""
    return value if value is not None and math.isfinite(value) else None


class Problem(BaseModel):
    """Why something was refused; `problems` has a line for each thing that is to be corrected."""

    detail: str
    problems: list[str] = Field(default_factory=list)


class Experiment(BaseModel):
    """An experiment by its full name, and the newest of its runs that the caller may see."""

    name: str
    team: str
    runs: int
    newest_run: int
    newest_started_at: datetime

    @classmethod
    def of(cls, row: ExperimentRow) -> Self:
        """Take a row of the store."""
        return cls(
            name=row.name,
            team=row.team,
            runs=row.runs,
            newest_run=row.newest,
            newest_started_at=row.started_at,
        )


class Experiments(BaseModel):
    """A page of experiments; `next` is the `after` of the page behind it, null on the last."""

    experiments: list[Experiment]
    next: str | None


class Run(BaseModel):
    """A run as a list shows it; `dag_run_id` is its name in Airflow.

    `elapsed_s` is how long it has been open: not the time between an end and its extension.
    """

    id: int
    experiment: str
    team: str
    status: RunStatus
    reason: str | None
    stopped_by: str | None = Field(description="who has stopped or cancelled it; null if nobody")
    dag_id: str
    dag_run_id: str
    backend: str | None
    triggered_by: str
    started_at: datetime
    ended_at: datetime | None
    elapsed_s: float

    @classmethod
    def of(cls, run: StoredRun, **more: Any) -> Self:
        """Take a run of the store."""
        return cls(
            id=run.id,
            experiment=run.experiment,
            team=run.team,
            status=run.status,
            reason=run.reason,
            stopped_by=run.stopped_by,
            dag_id=run.key.dag_id,
            dag_run_id=run.key.dag_run_id,
            backend=next(iter(run.outline.backends), None),
            triggered_by=run.triggered_by,
            started_at=run.started_at,
            ended_at=run.ended_at,
            elapsed_s=run.open_s(run.ended_at or datetime.now(UTC)),
            **more,
        )


class Runs(BaseModel):
    """A page of runs, the newest first; `next` is the `before` of the page behind it."""

    runs: list[Run]
    next: int | None


class RunDetail(Run):
    """A run with how far it is: `trials` counts those of its search by state.

    `line` says it in words. `stopping` is why it begins no more trials, once that is decided.
    `other_mode` says, once the run has ended, how long its trials would have taken in the other
    mode; null where that is the same.
    """

    max_trials: int | None
    trials: dict[TrialState, int]
    finals: int
    line: str
    stopping: str | None
    other_mode: str | None


class Spec(RootModel[dict[str, Any]]):
    """A spec as JSON: what a run has of it may be submitted again."""


class Attempt(BaseModel):
    """One try of a trial."""

    number: int
    state: str
    cause: str | None
    reason: str | None
    exit_code: int | None
    resource: float | None
    started_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, tried: Tried) -> Self:
        """Take an attempt of the store."""
        names = [name for name in cls.model_fields if name not in ("resource",)]
        values = {name: getattr(tried, name) for name in names}
        return cls(resource=finite(tried.resource), **values)


class Trial(BaseModel):
    """A trial; `params` lacks what the spec has fixed, `value` is that of the first objective."""

    number: int
    state: TrialState
    value: float | None
    params: dict[str, Any]
    metrics: dict[str, float | None]
    cause: str | None
    reason: str | None
    origin: str
    seed: int | None = Field(description="of a final trial; null in the search")
    slot: str
    duration_s: float | None
    reused_from: str | None
    shown: dict[str, float | None] = Field(
        description="of a running trial, the newest value of each metric; of any other nothing"
    )
    step: int | None = Field(description="of a running trial, the newest step of its metrics")
    attempts: list[Attempt]

    @classmethod
    def of(cls, view: TrialView) -> Self:
        """Take a trial of the store."""
        trial = view.trial
        return cls(
            number=trial.number,
            state=trial.state,
            value=finite(trial.value),
            params=plain(trial.params),
            metrics={name: finite(value) for name, value in trial.metrics.items()},
            cause=trial.cause,
            reason=trial.reason,
            origin=trial.origin,
            seed=trial.repeat or None,
            slot=view.slot,
            duration_s=finite(trial.duration_s),
            reused_from=None if trial.reused is None else str(trial.reused),
            shown={name: finite(value) for name, value in view.shown.values.items()},
            step=view.shown.step,
            attempts=[Attempt.of(one) for one in view.attempts],
        )


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give parameters as JSON has them."""
    return {
        name: finite(value) if isinstance(value, float) else value for name, value in params.items()
    }


class Trials(BaseModel):
    """A page of trials by number; `next` is the `after` of the page behind it."""

    trials: list[Trial]
    next: int | None


class Best(BaseModel):
    """The best trial by the run's objective; of several objectives, the Pareto front."""

    metrics: list[str]
    trials: list[Trial]


class Observation(BaseModel):
    """One value of a metric, at a step if it has one; `time` is in seconds of the epoch."""

    position: int
    metric: str
    step: int | None
    value: float | None
    time: float | None

    @classmethod
    def of(cls, position: int, seen: Seen) -> Self:
        """Take an observation of the store."""
        return cls(
            position=position,
            metric=seen.metric,
            step=seen.step,
            value=finite(seen.value),
            time=finite(seen.time),
        )


class Observations(BaseModel):
    """A page of what a trial's newest attempt has shown, in its order."""

    observations: list[Observation]
    next: int | None


class File(BaseModel):
    """A file that a trial has left, by its name in the output folder, with its size in bytes."""

    name: str
    size: int


class Files(BaseModel):
    """A page of what an attempt of a trial has left in `place`, by name.

    The attempt is the last that went well, else the newest. `next` is the `after` of the next page.
    """

    trial: int
    attempt: int
    place: str
    files: list[File]
    next: str | None


class Log(BaseModel):
    """Lines of a trial's log; ask on with `offset` = `next`. `ended` says that none will follow."""

    lines: list[str]
    next: int
    ended: bool


class Submitted(BaseModel):
    """A DAG run that was started; its run is in the list as soon as its conf has been checked."""

    dag_id: str
    dag_run_id: str
    state: str


class Stopped(BaseModel):
    """A run that goes no further, or a trial: `reason` says why, in the words of the report."""

    run: int
    trial: int | None = None
    state: str
    reason: str | None
