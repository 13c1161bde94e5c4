"""Schedulers such as ASHA: how far each trial goes, and who stops early; a file and a row each.

A scheduler is one file here, one row in `hpo_lib.registry`, and one class of tests that inherits
`SchedulerContract`. One that lets every trial wait after two epochs:

    class TwiceScheduler(Scheduler):
        Settings = NoSettings
        promotes = True

        def waves(self, trials: int, capacity: int) -> int:
            return 2 * math.ceil(trials / capacity)

        def admit(self, history, suggest, capacity):
            waiting = history.of(TrialState.WAITING)[:capacity]
            again = [
                Assignment(t.number, t.params, t.origin, resume_from=t.number, reason="next")
                for t in waiting
            ]
            fresh = suggest(history, capacity - len(again))
            return again + [
                Assignment(number, one.params, one.origin, resource=2.0, partial=True)
                for number, one in enumerate(fresh, start=len(history.trials) + 1)
            ]

        def judge(self, trial, history):
            return Decision.go_on("everything goes on")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import Assignment, Decision, History, Params, Suggestion, Trial
from hpo_lib.validation import Strict

#: Gives up to so many new configurations for a history; fewer when a run may make no more trials.
Suggest = Callable[[History, int], list[Suggestion]]


class NoSettings(Strict):
    """The settings of a scheduler that has none."""


class Scheduler(Protocol):
    """Built anew for every call from what the spec says; all state is in the history.

    `Settings` is the model of the scheduler's own keys in `scheduler:`. `promotes` says whether
    trials may go on after they have waited: a run then ends only when nothing is left to promote.
    `watches` says that it judges running trials by what they report: only then the history has
    their `curve`. `inherits` says that trials may go on from others' checkpoints, which then stay.
    `space` and `initial`, its initial points, are the run's, and there once the scheduler has been
    built.
    """

    Settings: ClassVar[type[Strict]]
    promotes: bool = False
    watches: bool = False
    inherits: bool = False
    space: Space
    initial: Sequence[Params] = ()
    goal: Goal
    seed: int
    settings: Strict

    def __init__(self, goal: Goal, seed: int, settings: Strict) -> None:
        self.goal = goal
        self.seed = seed
        self.settings = settings

    def waves(self, trials: int, capacity: int) -> int:
        """Say how many waves of `capacity` places a run of `trials` trials takes at most."""
        return math.ceil(trials / capacity)

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Fill up to `capacity` free places with new trials and with trials that wait.

        New trials are numbered from len(history.trials) + 1, one after the other. Of the
        others only a trial that waits may go on, and only to more than it has reached.
        """
        ...

    def judge(self, trial: Trial, history: History) -> Decision:
        """Say whether a trial that runs or waits may go on, or stops, and why.

        It is called for each such trial at every decision, and of one that `watches` also while
        nobody asks for a trial, when the running one has reported anew. The history holds what is
        known so far, the trial's own rungs included. The sampler is told of a trial that waits or
        was stopped as `hpo_lib.search.suggesting.as_samplers_know` says.
        """
        ...
