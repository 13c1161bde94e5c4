"""Asking a scheduler, such as ASHA or Hyperband: it is built, judges, admits, and is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpo_lib.core.trial import Action, Assignment, Decision, History, Trial, TrialState
from hpo_lib.errors import HpoError
from hpo_lib.registry import load
from hpo_lib.schedulers import Scheduler
from hpo_lib.search.suggesting import settings_for
from hpo_lib.spec import Spec

#: The states of trials that a scheduler judges.
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


def scheduler_of(spec: Spec) -> Scheduler:
    """Build the scheduler that a spec names; SpecError names a setting that it does not take."""
    name = spec.scheduler.name
    kind = load("scheduler", name)
    settings = settings_for(
        kind, spec.scheduler.settings, at="scheduler", name=name, besides=["name"]
    )
    scheduler: Scheduler = kind(spec.goal, spec.sampler.seed, settings)
    return scheduler


def judged(scheduler: Scheduler, history: History) -> dict[int, Decision]:
    """Give the scheduler's decision on every trial that runs or waits, by number."""
    going = [trial for trial in history.trials if trial.state in _OPEN]
    return {trial.number: scheduler.judge(trial, history) for trial in going}


def after(history: History, decisions: Mapping[int, Decision]) -> History:
    """Give the history as it is once the trials that are to stop have stopped."""
    trials = tuple(_stopped(trial, decisions.get(trial.number)) for trial in history.trials)
    return replace(history, trials=trials)


def _stopped(trial: Trial, decision: Decision | None) -> Trial:
    if decision is None or decision.action is not Action.STOP:
        return trial
    return replace(trial, state=TrialState.STOPPED, reason=decision.reason)


def checked(
    assignments: Sequence[Assignment], history: History, capacity: int, name: str
) -> list[Assignment]:
    """Give what a scheduler has admitted, if it keeps its promises; else HpoError."""
    known = {trial.number: trial for trial in history.trials}
    new = [one.trial for one in assignments if one.trial not in known]
    expected = list(range(len(known) + 1, len(known) + 1 + len(new)))
    numbers = [one.trial for one in assignments]
    if len(assignments) > capacity:
        raise _broken(name, f"{len(assignments)} trials for {capacity} free places")
    if new != expected or len(set(numbers)) < len(numbers):
        raise _broken(name, f"trials {numbers}, where the next new one is {len(known) + 1}")
    for one in assignments:
        if one.partial and one.resource is None:
            raise _broken(name, f"trial {one.trial} to a rung without a resource")
        if (trial := known.get(one.trial)) is not None:
            _check_promoted(one, trial, name)
    return list(assignments)


def _check_promoted(assignment: Assignment, trial: Trial, name: str) -> None:
    if trial.state is not TrialState.WAITING:
        raise _broken(name, f"trial {trial.number} again, which is {trial.state}")
    reached = max(trial.rungs, default=0.0)
    if assignment.resource is not None and assignment.resource <= reached:
        raise _broken(
            name,
            f"trial {trial.number} to {assignment.resource:g}, where it has reached {reached:g}",
        )


def _broken(name: str, admitted: str) -> HpoError:
    return HpoError(f"scheduler {name} admits {admitted}: that is a fault of the scheduler")
