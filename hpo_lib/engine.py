"""The engine: from a spec and a history to new trials, decisions on old ones, or the end.

Pure: no clock, no I/O, no state; the same spec and history give the same step on any worker.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hpo_lib.errors import SpecError, nearest
from hpo_lib.failures import counts
from hpo_lib.goal import Goal
from hpo_lib.registry import AUTO, load
from hpo_lib.samplers import Sampler, random_params, shuffled
from hpo_lib.samplers.auto import choose, chosen
from hpo_lib.space import Space, key
from hpo_lib.spec import Spec
from hpo_lib.trial import (
    Assignment,
    Decision,
    Direction,
    History,
    Origin,
    Params,
    Suggestion,
    Trial,
    TrialState,
)
from hpo_lib.validation import parse, shown
from hpo_lib.words import duration

_ASKS = 3
_DRAWS = 20
_DRAWS_CONTINUOUS = 200


@dataclass(frozen=True, slots=True)
class Search:
    """What suggestions are made from; `initial` holds canonical configurations that go first."""

    space: Space
    sampler: Sampler
    seed: int
    initial: Sequence[Params] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: trials to start, decisions by number of a running trial, or the stop.

    With a stop nothing is started. Without one, no assignments mean that nothing is free or due.
    """

    assignments: Sequence[Assignment] = ()
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    stop: Decision | None = None


@dataclass(frozen=True, slots=True)
class Finale:
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
        room = capacity(spec)
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


def capacity(spec: Spec) -> int | None:
    """Count the distinct configurations that a run can try; None if there is no end to them."""
    made = search(spec)
    return made.sampler.capacity(made.initial)


def waves(spec: Spec) -> int:
    """Count the waves that the trials of a run make at most."""
    return math.ceil(spec.limits.max_trials / spec.limits.parallel_trials)


def search(spec: Spec) -> Search:
    """Build what a spec asks for; SpecError names a setting that its sampler does not take."""
    space = spec.search_space
    sampler = make_sampler(
        chosen(spec)[0],
        space,
        spec.goal,
        seed=spec.sampler.seed,
        settings=spec.sampler.settings,
    )
    initial = [space.canonical(point) for point in spec.initial_points]
    return Search(space, sampler, spec.sampler.seed, initial)


def make_sampler(
    name: str, space: Space, goal: Goal, *, seed: int, settings: Mapping[str, Any]
) -> Sampler:
    """Build a sampler from plain settings; SpecError says what they must be.

    `auto` is chosen as for a run of which nobody knows how long it will be.
    """
    if name == AUTO:
        name, _ = choose(space, goal, trials=None, parallel=None, fidelity=False)
    kind = load("sampler", name)
    known = ["name", "seed", *kind.Settings.model_fields]
    for unknown in (setting for setting in settings if setting not in known):
        hint, listing = nearest(unknown, known), ", ".join(known)
        raise SpecError(f"sampler: unknown key {shown(unknown)}{hint}; known to {name}: {listing}")
    sampler: Sampler = kind(space, goal, seed, parse(kind.Settings, settings, at="sampler"))
    return sampler


def step(spec: Spec, history: History, slots: int) -> Step:
    """Decide what happens next, with room for `slots` new trials."""
    made = search(spec)
    if stop := _stop(spec, history, made):
        return Step(stop=stop)
    scheduler = load("scheduler", spec.scheduler.name)()
    running = history.of(TrialState.RUNNING)
    decisions = {trial.number: scheduler.judge(trial, history) for trial in running}
    room = max(min(slots, spec.limits.max_trials - len(history.trials)), 0)
    assignments = scheduler.admit(history, partial(suggest, made), room) if room else []
    if room and not assignments:
        return Step(decisions=decisions, stop=_exhausted(history))
    return Step(assignments, decisions)


def final(spec: Spec, history: History, stop: Decision | None) -> Decision:
    """Give the verdict on a run that has ended: failed also when no trial is complete.

    A run whose trials all break a constraint is complete, and its reason says so: it has shown
    what it was asked to, and nothing went wrong on the way.
    """
    if stop is not None and stop.failed:
        return stop
    ranked = spec.goal.ranked(history.trials)
    if not ranked:
        why = _causes(history.of(TrialState.FAILED))
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


def finale(spec: Spec, history: History, champion: Params | None) -> Finale:
    """Ask for the winner's last training, and the champion's beside it, once per seed.

    `champion` holds the parameters of the model that serves, on whatever data it was made. The
    winner is the feasible trial with the best first objective.
    """
    best = spec.goal.best(history.trials)
    if best is None:
        return Finale(stop=Decision.stop("no trial is complete and keeps the constraints"))
    if champion is not None and key(champion) == key(best.params):
        why = f"trial {best.number}, the best, has the champion's own configuration"
        return Finale(stop=Decision.stop(f"{why}: the champion stays"))
    seeds = range(1, (spec.final.seeds if spec.final else 1) + 1)
    trained = [best.params] if champion is None else [best.params, champion]
    pairs = [(params, seed) for params in trained for seed in seeds]
    assignments = [
        Assignment(number, params, origin=Origin.FINAL, repeat=seed)
        for number, (params, seed) in enumerate(pairs, len(history.trials) + 1)
    ]
    return Finale(assignments, challenger=best)


def _infeasible(nearest: Trial, broken: Sequence[str]) -> str:
    return (
        f"no trial keeps the constraints: trial {nearest.number} comes nearest, where "
        f"{' and '.join(broken)}"
    )


def suggest(search: Search, history: History, count: int) -> list[Suggestion]:
    """Propose `count` configurations, none twice and none of the history's.

    Initial points come first, then the sampler's; what it repeats is replaced by random draws and,
    in a finite space, by whatever is unused. Fewer come only when the space (or the part of it
    that the sampler wants) is used up.
    """
    used = _used(search.space, history)
    batch = list(_fresh(search, _initial(search), used, count))
    for _ in range(_ASKS):
        wanted = count - len(batch)
        if wanted <= 0:
            return batch
        offered = search.sampler.suggest(_with(history, batch), wanted)
        fresh = list(_fresh(search, offered, used, wanted))
        batch += fresh
        if len(offered) < wanted:
            return batch
        if not fresh:
            break
    number = len(history.trials) + len(batch) + 1
    return batch + list(_fresh(search, _fallback(search, number), used, count - len(batch)))


def _initial(search: Search) -> Iterator[Suggestion]:
    return (Suggestion(params, Origin.INITIAL) for params in search.initial)


def _fresh(
    search: Search, offered: Iterable[Suggestion], used: set[str], count: int
) -> Iterator[Suggestion]:
    """Let through up to `count` that are not used, and mark them as used."""
    if count <= 0:
        return
    for suggestion in offered:
        params = search.space.canonical(suggestion.params)
        digest = key(params)
        if digest in used:
            continue
        used.add(digest)
        yield replace(suggestion, params=params)
        count -= 1
        if count == 0:
            return


def _fallback(search: Search, number: int) -> Iterator[Suggestion]:
    """Draw at random for a while, then go through a finite space in random order."""
    space, seed = search.space, search.seed
    draws = _DRAWS if space.size else _DRAWS_CONTINUOUS
    # From 1: numpy's seed sequences take (seed, number, 0) for (seed, number).
    for draw in range(1, draws + 1):
        yield Suggestion(random_params(space, seed, number, draw), Origin.FALLBACK)
    if space.size:
        for index in shuffled(space.size, seed, number):
            yield Suggestion(space.grid[index], Origin.FALLBACK)


def _with(history: History, batch: Sequence[Suggestion]) -> History:
    """Add a batch to the history as trials under way."""
    first = len(history.trials) + 1
    trials = [Trial(number, s.params, origin=s.origin) for number, s in enumerate(batch, first)]
    return replace(history, trials=(*history.trials, *trials))


def _used(space: Space, history: History) -> set[str]:
    """Hash the configurations of the history, also those that the space no longer allows."""
    keys = set()
    for trial in history.trials:
        try:
            keys.add(key(space.canonical(trial.params)))
        except SpecError:
            keys.add(key(trial.params))
    return keys


def _stop(spec: Spec, history: History, made: Search) -> Decision | None:
    """Apply the stop rules in the order that decides which reason the user reads."""
    return (
        _target_reached(spec, history)
        or _failure_budget_spent(spec, history)
        or _out_of_time(spec, history)
        or _all_trials_made(spec, history)
        or _nothing_left(history, made)
        or _patience_lost(spec, history)
    )


def _target_reached(spec: Spec, history: History) -> Decision | None:
    """Look for one feasible trial that reaches every target there is."""
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


def _failure_budget_spent(spec: Spec, history: History) -> Decision | None:
    failed = [t for t in history.of(TrialState.FAILED) if counts(t.cause)]
    budget = spec.limits.max_failed_trials
    if len(failed) <= budget:
        return None
    return Decision.stop(
        f"failure budget spent: {_causes(failed)}, limits.max_failed_trials is {budget}",
        failed=True,
    )


def _causes(failed: Sequence[Trial]) -> str:
    counts = Counter(str(trial.cause or "unknown") for trial in failed)
    listing = ", ".join(f"{cause} {count}" for cause, count in counts.most_common())
    return f"{len(failed)} failed" + (f" ({listing})" if listing else "")


def _out_of_time(spec: Spec, history: History) -> Decision | None:
    limit = spec.limits.max_duration_s
    if limit is None:
        return None
    known = [trial for trial in history.trials if trial.state is not TrialState.RUNNING]
    durations = [trial.duration_s for trial in known if trial.duration_s is not None]
    if len(history.trials) >= spec.limits.max_trials:
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
    room = made.sampler.capacity(made.initial)
    if room is None or len(history.trials) < room or len(_used(made.space, history)) < room:
        return None
    return _exhausted(history)


def _exhausted(history: History) -> Decision:
    return Decision.stop(
        f"space exhausted: {len(history.trials)} trials have tried every configuration"
    )


def _patience_lost(spec: Spec, history: History) -> Decision | None:
    """Look for what came after the front's newest trial: whatever changes the front joins it."""
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
