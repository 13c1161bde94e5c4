"""What the report says about a run, read once and leniently: any stored run has a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.records import Run, RunStatus, RunView, TrialView, attempt_uri
from hpo_lib.spec import Spec
from hpo_lib.spec.outline import Dimension, Measure, Outline
from hpo_lib.words import utc


@dataclass(frozen=True)
class Facts:
    """A run, and what its spec says as far as it can be read: it may be empty or out of date."""

    view: RunView
    spec: Spec | None
    problem: str | None

    @classmethod
    def of(cls, view: RunView) -> Facts:
        """Read the spec, or remember why it cannot be read."""
        if view.run.status is RunStatus.REFUSED:
            return cls(view, None, None)
        try:
            return cls(view, view.run.spec, None)
        except SpecError as error:
            return cls(view, None, str(error))

    @property
    def run(self) -> Run:
        """The run itself."""
        return self.view.run

    @property
    def refused(self) -> bool:
        """Whether the run was refused, so that it has no trials."""
        return self.run.status is RunStatus.REFUSED

    @property
    def trials(self) -> Sequence[TrialView]:
        """All trials, by number."""
        return self.view.trials

    @property
    def said(self) -> Outline:
        """What the spec says, as far as it can be read."""
        return self.run.outline

    def dimension(self, name: str) -> Dimension:
        """Give what the spec says of a parameter."""
        return self.said.space.get(name, Dimension())

    @property
    def objectives(self) -> Sequence[Measure]:
        """The objectives: at least one, of which the spec may say nothing."""
        return self.said.objectives

    @property
    def objective(self) -> Measure:
        """The first objective, whose value is a trial's."""
        return self.objectives[0]

    @property
    def metric(self) -> str:
        """The first objective's name."""
        return self.objective.metric

    @property
    def goal(self) -> Goal | None:
        """What the run is after; None if the spec does not say."""
        return self.view.goal

    @property
    def several(self) -> bool:
        """Whether there is a Pareto front in place of a best trial."""
        return self.goal is not None and self.goal.several

    @property
    def constrained(self) -> bool:
        """Whether there are constraints to keep."""
        return self.goal is not None and bool(self.goal.constraints)

    @property
    def slots(self) -> int:
        """How many trials may run at once."""
        return max(self.said.parallel_trials or 1, 1)

    @cached_property
    def complete(self) -> list[TrialView]:
        """Complete trials whose value is a number."""
        return [view for view in self.trials if value_of(view) is not None]

    @cached_property
    def failed(self) -> list[TrialView]:
        """Failed trials."""
        return [view for view in self.trials if view.trial.state is TrialState.FAILED]

    @cached_property
    def ranked(self) -> list[TrialView]:
        """Complete trials, the best by the first objective first, then those not feasible."""
        return self._views(self.goal.ranked(self._tried)) if self.goal else []

    @cached_property
    def front(self) -> list[TrialView]:
        """The trials that stand out: the Pareto front, of one objective the best trial alone."""
        return self._views(self.goal.front(self._tried)) if self.goal else []

    @cached_property
    def leading(self) -> frozenset[int]:
        """The numbers of the front's trials."""
        return frozenset(view.trial.number for view in self.front)

    @cached_property
    def infeasible(self) -> frozenset[int]:
        """The numbers of the complete trials that break a constraint."""
        return frozenset(view.trial.number for view in self.complete if self.broken(view))

    def value(self, view: TrialView, objective: Measure) -> float | None:
        """Give a complete trial's value of an objective if it is a finite number."""
        if objective == self.objective or view.trial.state is not TrialState.COMPLETE:
            return value_of(view)
        return metric_of(self, view, objective.metric)

    def broken(self, view: TrialView) -> list[str]:
        """Say which constraints a complete trial breaks, and by how much."""
        if self.goal is None or view.trial.state is not TrialState.COMPLETE:
            return []
        return self.goal.broken(view.trial.metrics)

    @property
    def _tried(self) -> list[Trial]:
        return [view.trial for view in self.complete]

    def _views(self, trials: Sequence[Trial]) -> list[TrialView]:
        by_number = {view.trial.number: view for view in self.complete}
        return [by_number[trial.number] for trial in trials]

    @cached_property
    def parameters(self) -> list[str]:
        """The names of the space's parameters, and of any other that a trial has."""
        return _distinct(self.said.space, (view.trial.params for view in self.trials))

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all metrics but the objectives: those of the spec, then any other seen."""
        seen = _distinct(self.said.extra_metrics, (view.trial.metrics for view in self.trials))
        objectives = {objective.metric for objective in self.objectives}
        return [name for name in seen if name not in objectives]

    @cached_property
    def latest(self) -> datetime:
        """The last moment that the record knows of, taken as the end of what has not ended yet."""
        times = [self.run.started_at, self.run.ended_at]
        for view in self.trials:
            for attempt in view.attempts:
                times += [attempt.started_at, attempt.ended_at]
        return max(utc(time) for time in times if time is not None)

    @property
    def wall_s(self) -> float:
        """For how long the run has been open, in seconds."""
        return self.run.open_s(self.run.ended_at or self.latest)


def value_of(view: TrialView) -> float | None:
    """Give a complete trial's value if it is a finite number."""
    value = view.trial.value
    if view.trial.state is not TrialState.COMPLETE or value is None or not math.isfinite(value):
        return None
    return value


def metric_of(facts: Facts, view: TrialView, name: str) -> float | None:
    """Give a trial's finite value of a metric, be it an objective or another."""
    found = view.trial.metrics.get(name)
    if found is None and name == facts.metric:
        return value_of(view)
    return found if found is not None and math.isfinite(found) else None


def files(facts: Facts, view: TrialView) -> str | None:
    """Name the folder with a trial's artifacts, if its spec keeps them."""
    uri = facts.said.artifacts_uri
    if uri is None or facts.said.artifacts_keep == "none" or not view.attempts:
        return None
    return attempt_uri(uri, facts.run, view.trial.number, view.attempts[-1].number)


def _distinct(names: Iterable[str], more: Any) -> list[str]:
    found = dict.fromkeys(names)
    for mapping in more:
        found.update(dict.fromkeys(mapping))
    return list(found)
