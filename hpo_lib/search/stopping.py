"""When a run stops, by its limits, targets and patience, and the reason that the user reads."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from hpo_lib.core import failures
from hpo_lib.core.retry_policy import counts
from hpo_lib.core.trial import (
    Decision,
    Direction,
    History,
    Trial,
    TrialState,
)
from hpo_lib.search.suggesting import Search, used_keys
from hpo_lib.spec import Spec
from hpo_lib.words import duration


def stop(spec: Spec, history: History) -> Decision | None:
    """Say why a run stops at once, whatever could still be tried or promoted.

    The rules stand in the order that decides which reason the user reads; those of
    `no_more_trials` follow, then `patience_lost`. A limit on cost goes here too.
    """
    return (
        _target_reached(spec, history)
        or failure_budget_spent(spec, history)
        or _first_wave_failed(spec, history)
        or _out_of_time(spec, history)
    )


def no_more_trials(spec: Spec, history: History, made: Search) -> Decision | None:
    """Say why a run may begin no new trial; trials that wait may still be promoted."""
    return _all_trials_made(spec, history) or _nothing_left(history, made)


def _target_reached(spec: Spec, history: History) -> Decision | None:
    """Stop if one feasible trial reaches every target that is set."""
    if all(objective.target is None for objective in spec.objectives):
        return None
    reached = {trial.number: _reached(spec, trial) for trial in history.trials}
    best = spec.goal.best(trial for trial in history.trials if reached[trial.number])
    if best is None:
        return None
    listing = ", ".join(reached[best.number])
    return Decision.stop(f"target reached: {listing} in trial {best.number}")


def _reached(spec: Spec, trial: Trial) -> list[str]:
    """Say by objective how a trial reaches its target; nothing if it misses one."""
    said = []
    for objective, value in zip(spec.objectives, spec.goal.values(trial) or (), strict=False):
        if objective.target is None:
            continue
        if objective.direction.better(objective.target, than=value):
            return []
        sign = ">=" if objective.direction is Direction.MAXIMIZE else "<="
        said.append(f"{objective.metric} {value:.6g} {sign} {objective.target:.6g}")
    return said


def failure_budget_spent(spec: Spec, history: History) -> Decision | None:
    """Stop if more trials have failed by their own fault than are tolerated."""
    failed = [t for t in history.of(TrialState.FAILED) if counts(t.cause)]
    budget = spec.limits.max_failed_trials
    if len(failed) <= budget:
        return None
    return Decision.stop(
        f"failure budget spent: {_causes(failed)}, limits.max_failed_trials is {budget} "
        "and one more ends the run",
        failed=True,
    )


_FAILED_OR_NOT_YET = (TrialState.RUNNING, TrialState.FAILED)


def _first_wave_failed(spec: Spec, history: History) -> Decision | None:
    """Stop if the first trials, several at once, have all failed alike: so would the others."""
    at_once, trials = spec.limits.parallel_trials, history.trials
    if any(one.state not in _FAILED_OR_NOT_YET for one in trials):
        return None
    which = "trials of the first wave"
    if spec.mode == "async":
        trials = [one for one in trials if one.state is not TrialState.RUNNING]
        which = "trials that have ended"
    fits = 1 < at_once <= len(trials) if spec.mode == "async" else len(trials) <= at_once
    if not fits or not failures.doomed(trials):
        return None
    said = f"all {len(trials)} {which} failed alike: {failures.why(trials[0])}"
    return Decision.stop(said, failed=True)


def causes(history: History) -> str:
    """Say how many trials have failed, and of what, and how many ended below the full resource."""
    short = [t for t in history.trials if t.state in (TrialState.STOPPED, TrialState.WAITING)]
    begun = [t for t in short if t.rungs or t.duration_s is not None]
    said = [_causes(history.of(TrialState.FAILED))]
    said += [f"{len(begun)} stopped"] if begun else []
    said += [f"{len(short) - len(begun)} not begun"] if len(begun) < len(short) else []
    return ", ".join(said)


def _causes(failed: Sequence[Trial]) -> str:
    """Say how many trials have failed, and by which causes."""
    counts = Counter(str(trial.cause or "unknown") for trial in failed)
    listing = ", ".join(f"{cause} {count}" for cause, count in counts.most_common())
    return f"{len(failed)} failed" + (f" ({listing})" if listing else "")


def _out_of_time(spec: Spec, history: History) -> Decision | None:
    limit = spec.limits.max_duration_s
    if limit is None:
        return None
    known = [trial for trial in history.trials if trial.state is not TrialState.RUNNING]
    durations = [trial.duration_s for trial in known if trial.duration_s is not None]
    all_begun = len(history.trials) >= spec.limits.max_trials
    if all_begun and not history.of(TrialState.WAITING):
        durations = []  # Nothing more would be started, so nothing more is predicted.
    next_s = statistics.median(durations) if durations else 0.0
    if history.elapsed_s < limit and history.elapsed_s + next_s <= limit:
        return None
    ahead = f", a trial takes {duration(next_s)} (median of {len(durations)})" if durations else ""
    return Decision.stop(
        f"duration: {duration(history.elapsed_s)} have passed{ahead}, "
        f"limits.max_duration is {spec.limits.max_duration}"
    )


def _all_trials_made(spec: Spec, history: History) -> Decision | None:
    made, most = len(history.trials), spec.limits.max_trials
    if made < most:
        return None
    return Decision.stop(f"max trials reached: {made} of {most}")


def _nothing_left(history: History, made: Search) -> Decision | None:
    room = made.sampler.configurations(made.initial)
    if room is None or len(history.trials) < room or len(used_keys(made.space, history)) < room:
        return None
    return exhausted(history)


def exhausted(history: History) -> Decision:
    """Stop because no configuration is left."""
    return Decision.stop(
        f"space exhausted: {len(history.trials)} trials have tried every configuration"
    )


def patience_lost(spec: Spec, history: History) -> Decision | None:
    """Stop if enough trials follow the front's newest one: whatever changes the front joins it."""
    patience = spec.limits.patience
    front = spec.goal.front(history.trials) if patience else []
    if patience is None or not front:
        return None
    newest = front[-1]
    since = sum(trial.number > newest.number for trial in history.of(TrialState.COMPLETE))
    if since < patience:
        return None
    stands = f"best {spec.objective.metric} {newest.value:.6g} in trial {newest.number}"
    if spec.goal.several:
        stands = f"{len(front)} trials on the Pareto front, the newest is trial {newest.number}"
    return Decision.stop(
        f"patience: no improvement in the last {since} complete trials, limits.patience is "
        f"{patience}; {stands}"
    )
