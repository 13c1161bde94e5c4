"""What a scheduler has saved: steps that nobody trained, and what they would have cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpo_lib.core.trial import TrialState
from hpo_lib.records import AttemptState, TrialView
from hpo_lib.report.facts import Facts
from hpo_lib.schedulers import Scheduler
from hpo_lib.search.scheduling import scheduler_if_any
from hpo_lib.words import count, duration, number, percent, spoken

#: Trials that run may yet be trained to the end; those that failed would have failed there, too.
_COUNTED = (TrialState.COMPLETE, TrialState.STOPPED, TrialState.WAITING)


@dataclass(frozen=True, slots=True)
class Savings:
    """Steps of the trials that have `begun`: trained, and with each trained to the end, `most`.

    `pace_s` is what a step takes, in seconds; None if no attempt tells.
    """

    begun: int
    most: float
    trained: float
    pace_s: float | None
    unit: str = "step"

    @property
    def whole(self) -> float:
        """How many steps all of them would have taken."""
        return self.begun * self.most

    @property
    def saved(self) -> float:
        """How many of these were not trained."""
        return self.whole - self.trained

    @property
    def told(self) -> str:
        """Say what was saved, and what that would have cost."""
        unit, share = spoken(self.unit), percent(self.saved / self.whole)
        said = (
            f"Saved: {number(self.saved)} of the {number(self.whole)} {unit}s ({share}) that "
            f"{count(self.begun, 'trial')} would have taken to {unit} {number(self.most)}."
        )
        if self.pace_s is None or not self.saved:
            return said
        pace = duration(self.pace_s) if self.pace_s >= 1 else f"{number(self.pace_s, 2)}s"
        cost = duration(self.saved * self.pace_s)
        return f"{said} At {pace} each, as in this run, they would have cost {cost} of training."


def saved(facts: Facts) -> Savings | None:
    """Reckon what the scheduler has saved.

    None without one, before a trial has ended or waits, where nobody knows how far a whole training
    goes, and where trials go on from each other's checkpoints: none of them is trained by itself.
    """
    scheduler = scheduler_of(facts)
    views = [view for view in facts.trials if view.attempts and view.trial.state in _COUNTED]
    if scheduler is None or scheduler.inherits:
        return None
    reached = {view.trial.number: _reached(facts, view, scheduler) for view in views}
    ends = [reached[view.trial.number] for view in views if _is_complete(view)]
    most = getattr(scheduler.settings, "max", None) or max(ends, default=0)
    if not views or not most:
        return None
    trained = {
        view.trial.number: most if _is_complete(view) else min(reached[view.trial.number], most)
        for view in views
    }
    stretches = [one for view in views for one in _stretches(view, trained[view.trial.number])]
    unit = unit_of(scheduler)
    return Savings(len(views), most, sum(trained.values()), pace_s(stretches), unit)


def scheduler_of(facts: Facts) -> Scheduler | None:
    """Build the run's scheduler; None if it has none, or one that cannot be built any more."""
    return None if facts.spec is None else scheduler_if_any(facts.spec)


def unit_of(scheduler: Scheduler | None) -> str:
    """Give the word for what a scheduler counts: a step, an epoch, a round."""
    return str(getattr(scheduler and scheduler.settings, "resource", None) or "step")


def pace_s(stretches: Sequence[tuple[float, float]]) -> float | None:
    """Give the seconds of a step, of stretches of so many steps that took so many seconds.

    That is the slope of the line through them: a program's start takes its time, too. If they are
    all of one length, or are no such line, starts are shared out among the steps.
    """
    steps = sum(taken for taken, _ in stretches)
    if not steps:
        return None
    seconds = sum(lasted for _, lasted in stretches)
    mean, middle = steps / len(stretches), seconds / len(stretches)
    spread = sum((taken - mean) ** 2 for taken, _ in stretches)
    slope = sum((taken - mean) * (lasted - middle) for taken, lasted in stretches)
    if spread and 0 < slope / spread < seconds / steps:
        return slope / spread
    return seconds / steps


def _reached(facts: Facts, view: TrialView, scheduler: Scheduler) -> float:
    """Give how far a trial was trained; what it reports is in the unit of kinds that watch it."""
    seen = [one.step for one in view.observations if one.metric == facts.metric]
    steps = [step for step in seen if step is not None] if scheduler.watches else []
    shown = max(steps, default=0) + (0 in steps)
    return max([shown, *view.trial.rungs])


def _stretches(view: TrialView, trained: float) -> Iterator[tuple[float, float]]:
    """Give the steps and seconds of each attempt that went as far as it was to, or is the last."""
    done = 0.0
    for attempt in view.attempts:
        ended_well = attempt.state is AttemptState.SUCCEEDED
        if attempt.ended_at is None or not (ended_well or attempt is view.attempts[-1]):
            continue
        end = attempt.resource if ended_well and attempt.resource is not None else trained
        if end > done:
            yield end - done, (attempt.ended_at - attempt.started_at).total_seconds()
            done = end


def _is_complete(view: TrialView) -> bool:
    return view.trial.state is TrialState.COMPLETE
