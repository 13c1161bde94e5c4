"""Asking a scheduler, such as ASHA or Hyperband: it is built, judges, admits, and is checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from operator import attrgetter

from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Action, Assignment, Decision, History, Origin, Trial, TrialState
from hpo_lib.errors import HpoError, PartFailed, SpecError
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.search.parts import answering, made, settings_of
from hpo_lib.search.suggesting import used_keys
from hpo_lib.spec import Spec
from hpo_lib.spec.sections import SchedulerSpec
from hpo_lib.validation import told

_NUMBER = attrgetter("number")
#: The states of trials that a scheduler judges.
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


def scheduler_of(spec: Spec) -> Scheduler:
    """Build the scheduler that a spec names; SpecError says what is wrong with it."""
    asked = spec.scheduler
    built: Scheduler = made(
        "scheduler", asked.name, asked.settings, spec.goal, spec.sampler.seed, besides=["name"]
    )
    built.space, built.initial = spec.search_space, spec.initial_points
    return built


def scheduler_if_any(spec: Spec) -> Scheduler | None:
    """Build the scheduler that a spec names; None if there is none to be had."""
    if spec.scheduler == SchedulerSpec():
        return None
    try:
        return scheduler_of(spec)
    except HpoError:
        return None


def watches(spec: Spec) -> bool:
    """Say whether a spec's scheduler judges running trials by what they report."""
    return _is_one_that(spec, "watches")


def inherits(spec: Spec) -> bool:
    """Say whether a spec's scheduler has trials go on from the checkpoints of others."""
    return _is_one_that(spec, "inherits")


def _is_one_that(spec: Spec, does: str) -> bool:
    try:
        return bool(getattr(scheduler_of(spec), does))
    except HpoError:
        return False


def wrong_settings(spec: Spec) -> list[str]:
    """Give what is wrong with the scheduler's settings by themselves."""
    asked = spec.scheduler
    return told(lambda: settings_of("scheduler", asked.name, asked.settings, besides=["name"]))


def judged(scheduler: Scheduler, history: History, name: str) -> dict[int, Decision]:
    """Give the scheduler's decision on every trial that runs or waits, by number; PartFailed."""
    going = [trial for state in _OPEN for trial in history.of(state)]
    with answering(f"scheduler {name}"):
        said = {trial.number: scheduler.judge(trial, history) for trial in going}
    for number, one in said.items():
        if not isinstance(one, Decision):
            raise PartFailed(f"scheduler {name} failed: it judges trial {number} as {one!r}")
    return said


def after(history: History, decisions: Mapping[int, Decision]) -> History:
    """Give the history as it is once the trials that are to stop have stopped."""
    if not any(one.action is Action.STOP for one in decisions.values()):
        return history
    trials = tuple(_stopped(trial, decisions.get(trial.number)) for trial in history.trials)
    return replace(history, trials=trials)


def _stopped(trial: Trial, decision: Decision | None) -> Trial:
    if decision is None or decision.action is not Action.STOP:
        return trial
    return replace(trial, state=TrialState.STOPPED, reason=decision.reason)


def admitted(
    scheduler: Scheduler, history: History, suggest: Suggest, capacity: int, name: str
) -> list[Assignment]:
    """Let the scheduler fill free places; PartFailed if it fails."""
    with answering(f"scheduler {name}"):
        return list(scheduler.admit(history, suggest, capacity))


def check_admitted(
    assignments: Collection[Assignment],
    history: History,
    space: Space,
    *,
    capacity: int,
    room: int,
    name: str,
) -> None:
    """Raise PartFailed unless a scheduler keeps its promises.

    `capacity` is the number of free places, `room` that of the trials that a run may still begin.
    """
    for one in assignments:
        if not isinstance(one, Assignment):
            raise _broken(name, f"{one!r}, which is no Assignment")
    known = dict(zip(map(_NUMBER, history.trials), history.trials, strict=True))
    new = [one for one in assignments if one.trial not in known]
    numbers = [one.trial for one in assignments]
    following = range(len(known) + 1, len(known) + 1 + len(new))
    if len(numbers) > capacity:
        raise _broken(name, f"{len(numbers)} trials for {capacity} free places")
    if [one.trial for one in new] != list(following) or len(set(numbers)) < len(numbers):
        raise _broken(name, f"trials {numbers}, where the next new one is {len(known) + 1}")
    if len(new) > room:
        raise _broken(name, f"{len(new)} new trials, where the run may begin {room}")
    tried = used_keys(space, history)
    for one in assignments:
        _check_resource(one, name)
        if (trial := known.get(one.trial)) is not None:
            _check_promoted(one, trial, known, name)
        else:
            _check_new(one, space, tried, known, name)


def _check_resource(one: Assignment, name: str) -> None:
    if one.partial and one.resource is None:
        raise _broken(name, f"trial {one.trial} to a rung without a resource")
    amount = one.resource
    if amount is None:
        return
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise _broken(name, f"trial {one.trial} to {amount!r}, which is no number")
    if not (math.isfinite(amount) and amount > 0):
        raise _broken(name, f"trial {one.trial} to {amount:g}, which is no amount")


def _check_promoted(one: Assignment, trial: Trial, known: Mapping[int, Trial], name: str) -> None:
    if trial.state is not TrialState.WAITING:
        raise _broken(name, f"trial {trial.number} again, which is {trial.state}")
    reached = max(trial.rungs, default=0.0)
    if one.resource is not None and one.resource <= reached:
        raise _broken(
            name, f"trial {trial.number} to {one.resource:g}, where it has reached {reached:g}"
        )
    _check_origin(one, known, name)


def _check_new(
    one: Assignment, space: Space, tried: set[str], known: Mapping[int, Trial], name: str
) -> None:
    """Check a new trial's parameters, and take them as tried."""
    try:
        digest = key(space.canonical(one.params))
    except SpecError as error:
        raise _broken(name, f"trial {one.trial} outside the space ({error})") from None
    if digest in tried or one.origin is Origin.FINAL:
        raise _broken(name, f"trial {one.trial} with parameters that were tried already")
    tried.add(digest)
    _check_origin(one, known, name)


def _check_origin(one: Assignment, known: Mapping[int, Trial], name: str) -> None:
    """Check that there is a trial to go on from."""
    if one.resume_from is not None and one.resume_from not in known:
        raise _broken(name, f"trial {one.trial} to go on from {one.resume_from}, which is no trial")


def _broken(name: str, what: str) -> PartFailed:
    return PartFailed(f"scheduler {name} admits {what}: that is a fault of the scheduler")
