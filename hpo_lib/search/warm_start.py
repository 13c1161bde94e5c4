"""Warm start: what earlier runs tell a new one, on its own space, and where it begins.

Pure: from a spec and complete runs to the advice that is kept with the run when it begins. How far
an earlier run is right on tonight's data is for the sampler to judge, at every step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo_lib.core.objective import Goal
from hpo_lib.core.ranges import FloatParameter, IntParameter
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Params, Reused, Trial, TrialState, Value
from hpo_lib.core.values import finite, same
from hpo_lib.errors import SpecError
from hpo_lib.records import Advice, Past, Run, Told
from hpo_lib.spec import Spec
from hpo_lib.spec.sections import WarmStart
from hpo_lib.validation import shown
from hpo_lib.words import count, duration

#: A run that weighs less is left out: its best would still be among the first trials.
_LEAST_WEIGHT = 0.01
_REASONS = 3
#: A value that the space moves by more than this share of the range becomes another value.
_ROUNDING = 1e-9


def advise(spec: Spec, past: Sequence[Past]) -> Advice:
    """Let complete runs, the newest first, advise a run of this spec.

    A run counts if its objectives are this run's, in metric and direction. A trial counts if its
    configuration, with the constants of its run, has a place in this run's space (see
    docs/spec.md). Of those that do, `select` chooses.
    """
    asked = spec.warm_start
    if asked is None:
        return Advice()
    told: list[Told] = []
    dropped: list[str] = []
    heard: set[Reused] = set()
    for run in past:
        if why := _refusal(spec, asked, run):
            dropped.append(f"run {run.run.id}: not used, {why}")
            continue
        one = _unheard(run, heard)
        if run.trials and not one.trials:
            dropped.append(f"run {run.run.id}: not used, later runs have all of its results")
            continue
        fitting, lost = _fitting(spec, one)
        dropped += lost
        if fitting:
            chosen = select(spec.goal, spec.search_space, fitting, asked.top)
            told.append(Told(one.run.id, one.run.experiment, weight(asked, one.age_s), chosen))
    if not past:
        dropped.append(f"no run of {' or '.join(spec.advised_by)} is complete yet")
    return Advice(tuple(told), tuple(dropped))


def weight(asked: WarmStart, age_s: float) -> float:
    """Give the weight of a run that ended so many seconds ago."""
    return float(asked.weight * 0.5 ** (max(age_s, 0.0) / asked.half_life_s))


def select(goal: Goal, space: Space, trials: Sequence[Trial], top: int) -> tuple[Trial, ...]:
    """Choose up to `top` complete trials: half for being good, half for showing the rest.

    The first half, rounded up, are the best; with several objectives the Pareto front comes first,
    then the order of the first objective. Each of the others is the trial farthest, in the unit
    cube, from all chosen before it; of equally far ones the better. Of trials with the same
    configuration only the best counts.
    """
    ranked = goal.ranked(trials)
    if goal.several:
        front = {trial.number for trial in goal.front(trials)}
        ranked.sort(key=lambda trial: trial.number not in front)
    distinct: dict[str, Trial] = {}
    for trial in ranked:
        distinct.setdefault(key(trial.params), trial)
    listed = list(distinct.values())
    most = min(top, len(listed))
    return tuple(_spread(space, listed, min((top + 1) // 2, most), most))


def first_point(spec: Spec, champion: Mapping[str, Any]) -> tuple[Spec, str | None]:
    """Put a champion's parameters before all initial points, or say why not; nothing twice.

    Apart from the spec's constants, they have to be a configuration of the space exactly as they
    are: a changed configuration would not be the champion's.
    """
    try:
        point = _unchanged(spec, champion)
    except SpecError as error:
        return spec, f"the champion's parameters are not tried: {error}"
    space = spec.search_space
    others = [one for one in spec.initial_points if key(space.canonical(one)) != key(point)]
    points = (point, *others)[: spec.limits.max_trials]
    said = None
    if len(points) <= len(others):
        said = "the last of initial_points gives way to the champion's parameters"
    return spec.model_copy(update={"initial_points": points}), said


def _refusal(spec: Spec, asked: WarmStart, one: Past) -> str | None:
    """Say why a whole run is of no use."""
    goal = one.run.outline.goal
    if goal is None or goal.objectives != spec.goal.objectives:
        theirs = _aims(goal) if goal else "nothing that can be read"
        return f"it was to {theirs}, not to {_aims(spec.goal)}"
    if weight(asked, one.age_s) < _LEAST_WEIGHT:
        return f"at an age of {duration(one.age_s)} its weight is below {_LEAST_WEIGHT}"
    return None


def _aims(goal: Goal) -> str:
    return " and ".join(f"{direction} {metric}" for metric, direction in goal.objectives)


def _unheard(one: Past, heard: set[Reused]) -> Past:
    """Leave out results that a later run has reused: each counts once."""
    sources = [trial.reused or Reused(one.run.id, trial.number) for trial in one.trials]
    pairs = zip(one.trials, sources, strict=True)
    fresh = tuple(trial for trial, source in pairs if source not in heard)
    heard.update(sources)
    return replace(one, trials=fresh)


def _fitting(spec: Spec, one: Past) -> tuple[list[Trial], list[str]]:
    """Give the complete trials of a run that have a place here, and say why others have none."""
    complete = [trial for trial in one.trials if spec.goal.losses(trial) is not None]
    if not complete:
        return [], [f"run {one.run.id}: not used, none of its trials is complete"]
    fitting: list[Trial] = []
    reasons: Counter[str] = Counter()
    for trial in complete:
        try:
            fitting.append(_mapped(spec, one.run, trial))
        except SpecError as error:
            reasons[str(error).rpartition(", got ")[0] or str(error)] += 1
    if not reasons:
        return fitting, []
    lost = f"{len(complete) - len(fitting)} of {count(len(complete), 'complete trial')}"
    return fitting, [f"run {one.run.id}: {lost} left out: {listed(reasons)}"]


def listed(reasons: Counter[str]) -> str:
    """List reasons with how often each counts, the most frequent first."""
    said = [f"{reason} ({times})" for reason, times in reasons.most_common(_REASONS)]
    if rest := len(reasons) - len(said):
        said.append(f"and {count(rest, 'more reason')}")
    return "; ".join(said)


def _mapped(spec: Spec, run: Run, trial: Trial) -> Trial:
    """Put a trial on the new space; SpecError says why it has no place there.

    The constants of its run stand in for parameters that were not varied then. A parameter that is
    a constant now must have had that value, if it was varied; one that is gone is ignored.
    """
    goal, space = spec.goal, spec.search_space
    measured = {name: trial.metrics[name] for name in goal.metrics if name in trial.metrics}
    if len(measured) == len(goal.metrics) and not goal.feasible(trial):
        raise SpecError("a constraint is broken")
    _check_constants(spec, trial.params)
    known = {**run.outline.fixed, **trial.params}
    params = space.canonical({name: known[name] for name in space.parameters if name in known})
    kept = measured if goal.several or goal.constraints else {}
    return Trial(trial.number, params, TrialState.COMPLETE, trial.value, metrics=kept)


def _unchanged(spec: Spec, params: Params) -> dict[str, Value]:
    """Give the configuration that these parameters make; SpecError if they make none."""
    _check_constants(spec, params)
    given = {name: value for name, value in params.items() if name not in spec.fixed}
    varied = spec.search_space.flat(given)
    point = spec.search_space.canonical(varied)
    for name, value in point.items():
        parameter = spec.search_space.parameters[name]
        if not isinstance(parameter, FloatParameter | IntParameter):
            continue
        was, now = finite(varied[name]), finite(value)
        slack = _ROUNDING * (parameter.high - parameter.low)
        if abs(was - now) > slack:
            raise SpecError(f"{name}: must be on a step of {parameter.step}, got {varied[name]}")
    return point


def _check_constants(spec: Spec, params: Params) -> None:
    for name, value in params.items():
        if name in spec.fixed and not same(spec.fixed[name], value):
            raise SpecError(f"{name}: is fixed at {shown(spec.fixed[name])}, got {shown(value)}")


def _spread(space: Space, trials: Sequence[Trial], best: int, top: int) -> Sequence[Trial]:
    """Give the first `best` trials, then those farthest from all chosen so far, `top` in all."""
    import numpy as np

    places = np.array([space.to_unit(trial.params) for trial in trials])
    chosen: list[int] = []
    gaps = np.full(len(trials), np.inf)
    while len(chosen) < top:
        index = len(chosen) if len(chosen) < best else int(gaps.argmax())
        chosen.append(index)
        gaps = np.minimum(gaps, ((places - places[index]) ** 2).sum(axis=1))
        gaps[index] = -1.0  # So that it is not chosen again, even among equal places.
    return [trials[index] for index in chosen]
