"""The engine: from a spec and a history to new trials, decisions on old ones, or the end.

Pure: no clock, no I/O, no state; the same spec and history give the same step on any worker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from hpo_lib.core.space import key
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    History,
    Origin,
    Params,
    Trial,
    TrialState,
)
from hpo_lib.errors import SpecError
from hpo_lib.registry import load
from hpo_lib.search.stopping import causes, exhausted, stop
from hpo_lib.search.suggesting import configurations, search, suggest
from hpo_lib.spec import Spec


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: trials to start, decisions by number of a running trial, or the stop.

    With a stop nothing is started. Without one, no assignments mean that nothing is free or due.
    """

    assignments: Sequence[Assignment] = ()
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    stop: Decision | None = None


@dataclass(frozen=True, slots=True)
class FinalStep:
    """What is trained for the last time, and whose configuration challenges the champion's."""

    assignments: Sequence[Assignment] = ()
    challenger: Trial | None = None
    stop: Decision | None = None


def check(spec: Spec) -> None:
    """Check what the model of the spec cannot; SpecError holds a line per problem."""
    lines = []
    most, points = spec.limits.max_trials, len(spec.initial_points)
    if points > most:
        lines.append(f"initial_points: must be at most {most}, the limits.max_trials, got {points}")
    try:
        room = configurations(spec)
    except SpecError as error:
        raise SpecError("\n".join([*lines, str(error)])) from None
    if room is not None and room < most:
        what = "the space" if room == spec.search_space.size else "the fraction of the grid"
        lines.append(
            f"limits.max_trials: must be <= {room}, the number of configurations in {what}, "
            f"got {most}"
        )
    if lines:
        raise SpecError("\n".join(lines))


def waves(spec: Spec) -> int:
    """Count the waves that the trials of a run make at most."""
    return math.ceil(spec.limits.max_trials / spec.limits.parallel_trials)


def step(spec: Spec, history: History, slots: int) -> Step:
    """Decide what happens next, with room for `slots` new trials."""
    made = search(spec)
    if reason := stop(spec, history, made):
        return Step(stop=reason)
    scheduler = load("scheduler", spec.scheduler.name)()
    running = history.of(TrialState.RUNNING)
    decisions = {trial.number: scheduler.judge(trial, history) for trial in running}
    room = max(min(slots, spec.limits.max_trials - len(history.trials)), 0)
    assignments = scheduler.admit(history, partial(suggest, made), room) if room else []
    if room and not assignments:
        return Step(decisions=decisions, stop=exhausted(history))
    return Step(assignments, decisions)


def conclude(spec: Spec, history: History, stop: Decision | None) -> Decision:
    """Give the verdict on a run that has ended: failed also when no trial is complete.

    A run whose trials all break a constraint is complete, and its reason says so: it has shown
    what it was asked to, and nothing went wrong on the way.
    """
    if stop is not None and stop.failed:
        return stop
    ranked = spec.goal.ranked(history.trials)
    if not ranked:
        why = causes(history.of(TrialState.FAILED))
        because = f"; {stop.reason}" if stop else ""
        return Decision.stop(f"no trial is complete: {why}{because}", failed=True)
    if stop is None:
        return Decision.stop(
            f"broken off: {len(history.trials)} of {spec.limits.max_trials} trials, and no wave "
            "after them was answered; see the first red control task",
            failed=True,
        )
    broken = spec.goal.broken(ranked[0].metrics)
    return Decision.stop(f"{_infeasible(ranked[0], broken)}; {stop.reason}") if broken else stop


def final_step(spec: Spec, history: History, champion: Params | None) -> FinalStep:
    """Ask for the winner's last training, and the champion's beside it, once per seed.

    `champion` holds the parameters of the model that serves, on whatever data it was made. The
    winner is the feasible trial with the best first objective.
    """
    best = spec.goal.best(history.trials)
    if best is None:
        return FinalStep(stop=Decision.stop("no trial is complete and keeps the constraints"))
    if champion is not None and key(champion) == key(best.params):
        why = f"trial {best.number}, the best, has the champion's own configuration"
        return FinalStep(stop=Decision.stop(f"{why}: the champion stays"))
    seeds = range(1, (spec.final.seeds if spec.final else 1) + 1)
    trained = [best.params] if champion is None else [best.params, champion]
    pairs = [(params, seed) for params in trained for seed in seeds]
    assignments = [
        Assignment(number, params, origin=Origin.FINAL, repeat=seed)
        for number, (params, seed) in enumerate(pairs, len(history.trials) + 1)
    ]
    return FinalStep(assignments, challenger=best)


def _infeasible(nearest: Trial, broken: Sequence[str]) -> str:
    return (
        f"no trial keeps the constraints: trial {nearest.number} comes nearest, where "
        f"{' and '.join(broken)}"
    )
