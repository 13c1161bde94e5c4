"""The nouns that samplers, schedulers, engine, store and operators exchange: frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

#: Lists and mappings are choices, of plain JSON.
Value = str | int | float | bool | list[Any] | dict[str, Any]
Params = Mapping[str, Value]


class Direction(StrEnum):
    """Which way the objective improves."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def better(self, value: float, than: float) -> bool:
        """Say whether `value` is strictly better than `than`."""
        return value < than if self is Direction.MINIMIZE else value > than

    def loss(self, value: float) -> float:
        """Turn a value into what samplers minimise."""
        return value if self is Direction.MINIMIZE else -value


class TrialState(StrEnum):
    """Where a trial is; RUNNING and WAITING are not final.

    WAITING: it has reached a rung, and its scheduler may yet let it go on. STOPPED: its scheduler
    has ended it on purpose, below the full resource, or somebody has, or it never began, for its
    run's failure budget was spent; that is no failure.
    """

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


class Cause(StrEnum):
    """Why an attempt or a trial failed."""

    USER_ERROR = "user_error"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    OBJECTIVE_MISSING = "objective_missing"
    OBJECTIVE_NOT_FINITE = "objective_not_finite"
    KILLED_BY_OPERATOR = "killed_by_operator"
    IMAGE_NOT_PULLABLE = "image_not_pullable"
    UNSCHEDULABLE = "unschedulable"
    PREEMPTED = "preempted"
    EVICTED = "evicted"
    NODE_LOST = "node_lost"
    LOST = "lost"
    STOPPED = "stopped"


class Origin(StrEnum):
    """Where a suggestion came from."""

    INITIAL = "initial"
    SAMPLER = "sampler"
    FALLBACK = "fallback"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A configuration proposed for a new trial: canonical, active parameters only, no `fixed`."""

    params: Params
    origin: Origin = Origin.SAMPLER


@dataclass(frozen=True, slots=True)
class Reused:
    """The trial of another run whose result stands in for training this one."""

    run: int
    trial: int

    def __str__(self) -> str:
        """Name it in words."""
        return f"trial {self.trial} of run {self.run}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration and what became of it; `value` is set exactly when it is complete.

    `rungs` holds the first objective by the resource at which it was reached. `repeat` is 0
    in the search; a run's final trials train a configuration again, with their repeat as seed.
    `curve` holds the first objective by step as it was reported, also while the trial runs, and is
    there only if the run's scheduler watches trials; steps count from 1.
    `reused` names the trial that was trained, if it was not this one. `digest` is the key of its
    canonical parameters where the store has it already, to spare who compares thousands of them.
    """

    number: int
    params: Params
    state: TrialState = TrialState.RUNNING
    value: float | None = None
    cause: Cause | None = None
    reason: str | None = None
    origin: Origin = Origin.SAMPLER
    metrics: Mapping[str, float] = field(default_factory=dict)
    duration_s: float | None = None
    rungs: Mapping[float, float] = field(default_factory=dict)
    repeat: int = 0
    reused: Reused | None = None
    digest: str = field(default="", compare=False, repr=False)
    curve: Mapping[int, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Earlier:
    """Trials of an earlier run, perhaps of other data; `weight` (0 to 1) says how alike it is."""

    trials: Sequence[Trial]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class History:
    """All that a decision may depend on: the run's trials by number, and the time it has taken.

    `earlier` runs only advise: their values are not comparable with this run's.
    """

    trials: Sequence[Trial] = ()
    elapsed_s: float = 0.0
    earlier: Sequence[Earlier] = ()

    def of(self, state: TrialState) -> list[Trial]:
        """List the trials in one state, by number."""
        return [trial for trial in self.trials if trial.state is state]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an attempt is asked to do: one trial, up to one resource.

    `resource` is an amount in the scheduler's unit, such as epochs; None leaves it to the program.
    A `partial` assignment ends at a rung: the trial waits there, and is not complete. `resume_from`
    is the number of the trial, mostly the same one, from whose newest checkpoint it goes on.
    `reason` says why a trial that waited is promoted.
    """

    trial: int
    params: Params
    origin: Origin = Origin.SAMPLER
    resource: float | None = None
    resume_from: int | None = None
    repeat: int = 0
    partial: bool = False
    reason: str = ""


class Observation(NamedTuple):
    """One value of one metric; `step` is None for a value that belongs to no step.

    Values with the same `line` were written together. It is not kept in the store, and two
    observations are equal whatever their lines. A tuple, for a trial may print millions.
    """

    metric: str
    value: float
    step: int | None = None
    time: float | None = None
    line: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Observation) and self[:4] == other[:4]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:4])


class Action(StrEnum):
    """What a decision asks for."""

    GO_ON = "go_on"
    STOP = "stop"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and the reason that the user reads, unchanged, in store, log, UI and report.

    `failed` says that a stop leaves the run failed rather than complete.
    """

    action: Action
    reason: str
    failed: bool = False

    @classmethod
    def stop(cls, reason: str, *, failed: bool = False) -> Decision:
        """Stop, because of `reason`."""
        return cls(Action.STOP, reason, failed)

    @classmethod
    def go_on(cls, reason: str) -> Decision:
        """Go on, because of `reason`."""
        return cls(Action.GO_ON, reason)
