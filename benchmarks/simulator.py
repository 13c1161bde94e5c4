"""Runs on a virtual clock: the real engine, samplers, schedulers and store, on recorded curves.

    problem = MadeUp(steps=27)
    made = spec_of(problem, scheduler={"name": "asha", "max": 27}, trials=200)
    log = Simulation(made, problem, workers=8).play()
    regret(log, problem.recorded(200), share=1 / 8)

The same arguments give the same log. See docs/schedulers.md.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np

from benchmarks.curves import Problem, Recorded
from hpo_lib.core.space import key
from hpo_lib.core.trial import (
    Action,
    Assignment,
    Cause,
    Decision,
    History,
    Observation,
    Trial,
    TrialState,
)
from hpo_lib.records import AttemptState, Outcome, Provenance, RunKey
from hpo_lib.registry import ALLOWED_SAMPLERS, ALLOWED_SCHEDULERS
from hpo_lib.search import engine
from hpo_lib.search.scheduling import watches
from hpo_lib.spec import Spec, load
from hpo_lib.store import Store

_T = TypeVar("_T")
#: Whose budget is counted: so many trainings to the end.
FULL = 100
SHARES = (1 / 16, 1 / 8, 1 / 4, 1.0)


@contextmanager
def allowing() -> Iterator[None]:
    """Allow what is here and in the tests as a sampler or scheduler, meanwhile."""
    variables = (ALLOWED_SAMPLERS, ALLOWED_SCHEDULERS)
    more = {name: f"{os.environ.get(name, '')},benchmarks,tests".lstrip(",") for name in variables}
    with patch.dict(os.environ, more):
        yield


@allowing()
def spec_of(
    problem: Problem,
    *,
    scheduler: Mapping[str, Any],
    trials: int,
    parallel: int = 1,
    sampler: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Spec:
    """Write the spec of a simulated run; without a sampler it draws at random."""
    return load(
        {
            "name": "simulated",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": dict(problem.space),
            "sampler": {"name": "random", **(sampler or {}), "seed": seed},
            "scheduler": dict(scheduler),
            "limits": {
                "max_trials": trials,
                "parallel_trials": parallel,
                "max_failed_trials": trials,
            },
            "trial": {"command": ["true"]},
        }
    )


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a trial, and when: after so many steps of all trials together."""

    time_s: float
    steps: int
    trial: int
    state: TrialState
    reached: float
    value: float | None


@dataclass
class Log:
    """A whole run: what happened, in order, its trials as they ended, and why it stopped."""

    events: list[Event] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    reasons: list[tuple[int, str]] = field(default_factory=list)
    trials: Sequence[Trial] = ()
    steps: int = 0
    time_s: float = 0.0
    stop: str = ""

    def decisions(self) -> list[tuple[int, float | None, bool, str]]:
        """Give what was asked of trials, comparable between runs."""
        return [(one.trial, one.resource, one.partial, one.reason) for one in self.assignments]


class Books:
    """Keeps a run's trials in memory, as the store does in tables."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._trials: dict[int, Trial] = {}

    def history(self) -> History:
        """Give what a decision depends on."""
        return History(tuple(self._trials.values()))

    def ask(self, workers: Sequence[int]) -> engine.Step:
        """Ask for so many trials as there are free workers, and keep the answer."""
        step = engine.step(self.spec, self.history(), len(workers))
        for number, one in step.decisions.items():
            if one.action is Action.STOP and self._trials[number].state is TrialState.WAITING:
                self._change(number, state=TrialState.STOPPED, reason=one.reason)
        for one in step.assignments:
            known = self._trials.get(one.trial) or _new(one)
            self._trials[one.trial] = replace(known, state=TrialState.RUNNING)
        return step

    def report(self, number: int, curve: Mapping[int, float]) -> Mapping[int, Decision]:
        """Keep what a running trial has reported, and judge those that run."""
        self._change(number, curve=curve)
        return engine.judge_running(self.spec, self.history())

    def end(self, asked: Assignment, aim: int, curve: Mapping[int, float]) -> Trial:
        """Keep that a trial has come to what it was asked for."""
        value = curve[aim]
        trial = self._trials[asked.trial]
        if not math.isfinite(value):
            said = {"cause": Cause.OBJECTIVE_NOT_FINITE, "reason": "not finite"}
            return self._change(asked.trial, state=TrialState.FAILED, **said)
        rungs = {**trial.rungs, **({} if asked.resource is None else {asked.resource: value})}
        state = TrialState.WAITING if asked.partial else TrialState.COMPLETE
        whole = None if asked.partial else value
        return self._change(asked.trial, state=state, rungs=rungs, value=whole)

    def stop(self, number: int, reason: str) -> Trial:
        """Keep that a running trial was stopped."""
        return self._change(number, state=TrialState.STOPPED, reason=reason)

    def _change(self, number: int, **changes: Any) -> Trial:
        self._trials[number] = replace(self._trials[number], **changes)
        return self._trials[number]


def _new(asked: Assignment) -> Trial:
    """Make a trial as the store does, with the digest that spares the engine much work."""
    return Trial(asked.trial, asked.params, origin=asked.origin, digest=key(asked.params))


class Killed(Exception):
    """A worker is gone, with all that it knew."""


class BooksInStore:
    """Keeps a run in a store, by the transactions of slots; workers may be killed between two.

    `kills` is asked at every point between two transactions, by its name, whether the worker that
    is there is killed. Another takes its place at once, and knows only what the store does.
    """

    def __init__(
        self,
        spec: Spec,
        store: Store,
        kills: Callable[[str], bool] = lambda _: False,
        name: str = "run",
    ) -> None:
        self.spec, self._store, self._kills = spec, store, kills
        self._run = store.start_run(
            RunKey("simulated", name), spec, triggered_by="simulator", provenance=Provenance()
        )

    def history(self) -> History:
        """Read what a decision depends on."""
        return self._store.slots.history(self._run)

    def ask(self, workers: Sequence[int]) -> engine.Step:
        """Ask for each free worker in turn."""
        given, reasons = [], dict[int, Decision]()
        for worker in workers:
            asked, stop, said = self._again(lambda name=f"slot-{worker:03d}": self._turn(name))
            reasons |= said
            if stop is not None:
                return engine.Step(given, reasons, None if given else stop)
            if asked is not None:
                given.append(asked)
        return engine.Step(given, reasons)

    def report(self, number: int, curve: Mapping[int, float]) -> Mapping[int, Decision]:
        """Keep a report, have the running trials judged, and give who was told to stop."""

        def told() -> Mapping[int, Decision]:
            attempt = self._store.attempts(self._run.id, number)[-1]
            series = [Observation("loss", value, step) for step, value in curve.items()]
            self._store.live.keep(attempt.id, series)
            self._at("reported")
            self._store.slots.judge(self._run.id, engine.judge_running)
            running = self._store.slots.running(self._run.id)
            said = {n: self._store.told_to_stop(self._run.id, n) for n in running}
            return {n: Decision.stop(why) for n, why in said.items() if why is not None}

        return self._again(told)

    def end(self, asked: Assignment, aim: int, curve: Mapping[int, float]) -> Trial:
        """Close the attempt, however often its worker is killed before or after."""

        def ended() -> Trial:
            trial = self._store.trial(self._run.id, asked.trial)
            if trial.state is TrialState.RUNNING:
                self._at("trained")
                attempt = self._store.attempts(self._run.id, asked.trial)[-1]
                self._store.close_attempt(attempt.id, _outcome(aim, curve), final=True)
                self._at("closed")
            return self._store.trial(self._run.id, asked.trial)

        return self._again(ended)

    def stop(self, number: int, reason: str) -> Trial:
        """Stop a running trial."""
        return self._again(lambda: self._store.stop_trial(self._run.id, number, reason))

    def _turn(self, slot: str) -> tuple[Assignment | None, Decision | None, dict[int, Decision]]:
        self._at("asking")
        asked, stop = self._store.slots.held(self._run.id, slot), None
        if asked is None:
            turn = self._store.slots.ask(self._run.id, slot, self._step)
            asked, stop = turn.assignment, turn.stop
            self._at("asked")
        if asked is not None:
            self._store.open_attempt(self._run.id, asked.trial, lambda _: {})
            self._at("opened")
        return asked, stop, {}

    def _step(self, history: History) -> engine.Step:
        return engine.step(self.spec, history, 1)

    def _at(self, point: str) -> None:
        if self._kills(point):
            raise Killed(point)

    def _again(self, work: Callable[[], _T]) -> _T:
        while True:
            try:
                return work()
            except Killed:
                self._store.slots.forget(self._run.id)


def _outcome(aim: int, curve: Mapping[int, float]) -> Outcome:
    value = curve[aim]
    series = [Observation("loss", one, step) for step, one in curve.items() if step <= aim]
    if not math.isfinite(value):
        cause = Cause.OBJECTIVE_NOT_FINITE
        return Outcome(AttemptState.FAILED, "not finite", cause=cause, observations=series)
    known = {"metrics": {"loss": value}, "observations": series}
    return Outcome(AttemptState.SUCCEEDED, "done", value, **known)


@dataclass
class _Running:
    asked: Assignment
    worker: int
    at: int
    aim: int
    step_s: float
    losses: Sequence[float]


class Simulation:
    """Plays a run to its end on so many workers; `waves` lets all wait for the slowest.

    `budget` ends it after so many steps of all trials together. A worker that is free asks at
    once, or only every `ask_s` virtual seconds, which makes long runs quicker to play.
    """

    @allowing()
    def __init__(
        self,
        spec: Spec,
        problem: Problem,
        *,
        workers: int = 1,
        waves: bool = False,
        budget: int | None = None,
        ask_s: float = 0.0,
        books: Books | BooksInStore | None = None,
    ) -> None:
        self._problem, self._waves, self._ask_s = problem, waves, ask_s
        self._budget = math.inf if budget is None else budget
        self._books = books or Books(spec)
        self._watches = watches(spec)
        self._free = list(range(1, workers + 1))
        self._running: dict[int, _Running] = {}
        self._due: list[tuple[float, int]] = []
        self._reached: dict[int, int] = {}
        self._log = Log()

    @allowing()
    def play(self) -> Log:
        """Play it, and give the log."""
        log = self._log
        while log.steps < self._budget:
            if self._free and not (self._waves and self._running):
                self._fill()
            if not self._due:
                break
            self._go_on()
        log.trials = self._books.history().trials
        return log

    def _fill(self) -> None:
        """Give the free workers trials; without any the run has stopped, or they wait."""
        step = self._books.ask(self._free)
        for number, one in step.decisions.items():
            if one.action is Action.STOP:
                self._stop(number, one.reason)
        if step.stop is not None:
            self._log.stop = step.stop.reason
            if not self._running:
                return
        for asked in step.assignments:
            self._begin(asked)

    def _begin(self, asked: Assignment) -> None:
        steps = self._problem.steps
        aim = steps if asked.resource is None else min(int(asked.resource), steps)
        at = 0 if asked.resume_from is None else self._reached.get(asked.resume_from, 0)
        one = _Running(
            asked,
            self._free.pop(0),
            min(at, aim),
            aim,
            self._problem.seconds(asked.params),
            self._problem.curve(asked.params),
        )
        self._running[asked.trial] = one
        self._log.assignments.append(asked)
        self._plan(one)

    def _plan(self, one: _Running) -> None:
        """Set when a trial reports next: after each step if somebody watches, else at its end."""
        ahead = 1 if self._watches else one.aim - one.at
        heapq.heappush(self._due, (self._log.time_s + ahead * one.step_s, one.asked.trial))

    def _go_on(self) -> None:
        """Let time pass until trials report; those within the same time of asking together."""
        first = self._due[0][0]
        until = first if not self._ask_s else math.ceil(first / self._ask_s) * self._ask_s
        while self._due and self._due[0][0] <= until:
            self._log.time_s, number = heapq.heappop(self._due)
            if number in self._running:
                self._reports(self._running[number])
        self._log.time_s = max(self._log.time_s, until)

    def _reports(self, one: _Running) -> None:
        done = min(one.at + 1, one.aim) if self._watches else one.aim
        self._log.steps += done - one.at
        one.at = done
        curve = {step: one.losses[step - 1] for step in range(1, done + 1)}
        if done < one.aim:
            said = self._books.report(one.asked.trial, curve)
            for number, decision in said.items():
                if decision.action is Action.STOP:
                    self._stop(number, decision.reason)
            if one.asked.trial in self._running:
                self._plan(one)
            return
        if self._watches:
            self._books.report(one.asked.trial, curve)
        self._ended(one, self._books.end(one.asked, one.aim, curve))

    def _stop(self, number: int, reason: str) -> None:
        self._log.reasons.append((number, reason))
        if number in self._running:
            self._ended(self._running[number], self._books.stop(number, reason))

    def _ended(self, one: _Running, trial: Trial) -> None:
        del self._running[trial.number]
        self._reached[trial.number] = one.at
        self._free = sorted([*self._free, one.worker])
        log = self._log
        found = (log.time_s, log.steps, trial.number, trial.state, float(one.at), trial.value)
        log.events.append(Event(*found))


def regret(log: Log, problem: Recorded, share: float) -> float:
    """Give the normalised regret of what was trained to its end within a share of the budget.

    The budget is the steps of 100 full trainings.
    """
    within = share * FULL * problem.steps
    values = [one.value for one in log.events if one.value is not None and one.steps <= within]
    return regret_of(values, problem)


def regret_of(values: Sequence[float], problem: Recorded) -> float:
    """Give the normalised regret of the best of final losses.

    0 is the best configuration of all, 1 the median: also as long as there are no losses.
    """
    finals = problem.loss[:, -1].astype(float)
    best, middle = float(np.nanmin(finals)), float(np.nanmedian(finals))
    return (min([middle, *values]) - best) / (middle - best)
