"""The engine: from a spec and a history to new trials, decisions on old ones, or the end.

Pure: no clock, no I/O, no state; the same spec and history give the same step on any worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpo_lib.core.space import key
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    History,
    Origin,
    Params,
    Suggestion,
    Trial,
    TrialState,
)
from hpo_lib.errors import PartFailed, SpecError
from hpo_lib.search.parts import answering
from hpo_lib.search.scheduling import (
    admitted,
    after,
    check_admitted,
    judged,
    scheduler_of,
    wrong_settings,
)
from hpo_lib.search.stopping import causes, exhausted, no_more_trials, patience_lost, stop
from hpo_lib.search.suggesting import (
    Search,
    configurations,
    sampler_problems,
    search,
    searchable,
    suggest,
)
from hpo_lib.spec import Draft, Spec
from hpo_lib.validation import told


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: trials to start, decisions by number of other trials, or the stop.

    With a stop nothing is started. If there is neither a stop nor an assignment, no place is free
    or nothing is due. Decisions are about trials that run or wait; going on changes nothing.
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
    decisions: Mapping[int, Decision] = field(default_factory=dict)


def check(spec: Spec) -> None:
    """Check what the model of the spec cannot; SpecError holds a line per problem."""
    made = Draft(spec)
    made.found(problems(made)).checked()


def problems(draft: Draft) -> list[str]:
    """Give the problems of a spec that its model cannot see, a line each."""
    spec = draft.spec
    most, points = spec.limits.max_trials, len(spec.initial_points)
    found = _scheduler_problems(draft)
    if points > most and draft.sound("limits.max_trials", "initial_points"):
        found.append(f"initial_points: must be at most {most}, the limits.max_trials, got {points}")
    unfit = sampler_problems(draft)
    if unfit or not (draft.sound("limits") and searchable(draft)):
        return found + unfit
    room = configurations(spec)
    if room is not None and room < most:
        what = "the space" if room == spec.search_space.size else "the fraction of the grid"
        found.append(
            f"limits.max_trials: must be <= {room}, the number of configurations in {what}, "
            f"got {most}"
        )
    return found


def _scheduler_problems(draft: Draft) -> list[str]:
    """Give what is wrong with a scheduler's settings; if they are sound, with the waves it counts.

    Waves are counted from limits, so these have to be sound.
    """
    if not draft.sound("scheduler"):
        return []
    if not draft.sound("objective"):
        return wrong_settings(draft.spec)
    counted = draft.sound("limits.max_trials", "limits.parallel_trials")
    return told(waves if counted else scheduler_of, draft.spec)


def waves(spec: Spec) -> int:
    """Count the waves that a run has at most; SpecError if its scheduler cannot say."""
    limits, name = spec.limits, spec.scheduler.name
    scheduler = scheduler_of(spec)
    try:
        with answering(f"scheduler {name}"):
            counted = scheduler.waves(limits.max_trials, limits.parallel_trials)
    except PartFailed as error:
        raise SpecError(f"scheduler.name: {error}") from None
    if not isinstance(counted, int) or counted < 1:
        raise SpecError(f"scheduler.name: {name} must count at least 1 wave, got {counted!r}")
    return counted


def step(spec: Spec, history: History, capacity: int) -> Step:
    """Decide what happens next, with free places for `capacity` trials.

    A sampler or a scheduler that fails stops the run.
    """
    try:
        return _step(spec, history, capacity)
    except PartFailed as error:
        return _ended(history, {}, Decision.stop(str(error), failed=True))


def _step(spec: Spec, history: History, capacity: int) -> Step:
    made, name = search(spec), spec.scheduler.name
    if reason := stop(spec, history):
        return _ended(history, {}, reason)
    made_all = no_more_trials(spec, history, made)
    goes_on = made_all is None or history.of(TrialState.WAITING)
    if goes_on and (reason := patience_lost(spec, history)):
        return _ended(history, {}, reason)
    scheduler = scheduler_of(spec)
    decisions = judged(scheduler, history, name)
    known = after(history, decisions)
    room = 0 if made_all else spec.limits.max_trials - len(known.trials)
    source = _Suggestions(made, room)
    # Without a free place, ask for one trial all the same: it shows whether any is still to go on.
    asked = capacity or int(scheduler.promotes)
    due = admitted(scheduler, known, source, asked, name) if asked else []
    check_admitted(due, known, made.space, capacity=asked, room=room, name=name)
    ends = made_all or (source.said(known) if capacity else None)
    if due or ends is None or (scheduler.promotes and known.of(TrialState.RUNNING)):
        return Step(due if capacity else (), decisions)
    return _ended(known, decisions, ends)


def judge_running(spec: Spec, history: History) -> Mapping[int, Decision]:
    """Say which of the trials that run are to stop, while nobody asks for another; PartFailed."""
    running = {trial.number for trial in history.of(TrialState.RUNNING)}
    said = judged(scheduler_of(spec), history, spec.scheduler.name)
    return {number: one for number, one in said.items() if number in running}


@dataclass
class _Suggestions:
    """What a scheduler takes new configurations from: as many as the run may still have."""

    search: Search
    room: int
    short: bool = False

    def __call__(self, history: History, count: int) -> list[Suggestion]:
        """Give up to `count`."""
        wanted = max(min(count, self.room), 0)
        found = suggest(self.search, history, wanted) if wanted else []
        self.short = self.short or len(found) < wanted
        self.room -= len(found)
        return found

    def said(self, history: History) -> Decision:
        """Say why a scheduler that was asked has admitted nothing."""
        if self.short:
            return exhausted(history)
        return Decision.stop("the scheduler lets no further trial begin, and none goes on")


def _ended(history: History, decisions: Mapping[int, Decision], why: Decision) -> Step:
    """Stop the run, and with it, besides what the scheduler has decided, every waiting trial."""
    ended = Decision.stop(f"not promoted: {why.reason}")
    waiting = {trial.number: ended for trial in history.of(TrialState.WAITING)}
    return Step(decisions={**decisions, **waiting}, stop=why)


def conclude(spec: Spec, history: History, stop: Decision | None) -> Decision:
    """Conclude how a run has ended: it has also failed if no trial is complete.

    A run whose trials all break a constraint is complete, and its reason says so: it has shown
    what it was asked to, and nothing went wrong on the way.
    """
    if stop is not None and stop.failed:
        return stop
    ranked = spec.goal.ranked(history.trials)
    if not ranked:
        why = causes(history)
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
    winner is the feasible trial with the best first objective. Where trials have rungs, both are
    trained as far as the winner was.
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
    resource = max(best.rungs, default=None)
    assignments = [
        Assignment(number, params, origin=Origin.FINAL, resource=resource, repeat=seed)
        for number, (params, seed) in enumerate(pairs, len(history.trials) + 1)
    ]
    return FinalStep(assignments, challenger=best)


def _infeasible(nearest: Trial, broken: Sequence[str]) -> str:
    return (
        f"no trial keeps the constraints: trial {nearest.number} comes nearest, where "
        f"{' and '.join(broken)}"
    )
