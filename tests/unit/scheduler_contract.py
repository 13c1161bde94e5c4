"""What every scheduler has to do; a subclass says which one by the fixture `section`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib.core.trial import Action, Assignment, Cause, History, Trial, TrialState
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load

#: Whether the first try of a trial at a resource fails, by number and resource.
Fails = Callable[[int, float], bool]


def spec(section: dict[str, Any], trials: int = 9, parallel: int = 3, seed: int = 0) -> Spec:
    """Describe a run whose trials are ranked alike at every resource: by x."""
    return load(
        {
            "name": "contract",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "sampler": {"name": "random", "seed": seed},
            "scheduler": section,
            "limits": {
                "max_trials": trials,
                "parallel_trials": parallel,
                "max_failed_trials": trials,
            },
            "trial": {"command": ["true"]},
        }
    )


def apply(history: History, step: engine.Step) -> History:
    """Do with the history what the store does with an answer: stop, begin, let go on."""
    trials = {trial.number: trial for trial in history.trials}
    for number, decision in step.decisions.items():
        if decision.action is Action.STOP and trials[number].state is TrialState.WAITING:
            trials[number] = replace(
                trials[number], state=TrialState.STOPPED, reason=decision.reason
            )
    for one in step.assignments:
        known = trials.get(one.trial, Trial(one.trial, one.params, origin=one.origin))
        trials[one.trial] = replace(known, state=TrialState.RUNNING)
    return replace(history, trials=tuple(trials[number] for number in sorted(trials)))


def ended(trial: Trial, asked: Assignment, *, fails: bool) -> Trial:
    """End a trial at what it was asked for."""
    if fails:
        return replace(trial, state=TrialState.FAILED, cause=Cause.TIMEOUT, reason="too slow")
    value = float(trial.params["x"]) + 1.0 / (asked.resource or 100.0)
    rungs = {**trial.rungs, **({} if asked.resource is None else {asked.resource: value})}
    if asked.partial:
        return replace(trial, state=TrialState.WAITING, rungs=rungs)
    return replace(trial, state=TrialState.COMPLETE, value=value, rungs=rungs)


class Played:
    """A run on a scheduler: places free up one by one, or all at once, in whatever order."""

    def __init__(self, made: Spec, fails: Fails, order: Random, *, waves: bool) -> None:
        self.spec, self.fails, self.order, self.waves = made, fails, order, waves
        self.history = History()
        self.open: dict[int, Assignment] = {}
        self.asked: list[Assignment] = []
        self.decisions: list[tuple[int, str]] = []
        self.stop: str | None = None

    def play(self) -> Played:
        """Play it to its end."""
        for _ in range(10_000):
            if not self._ask() and not self.open:
                return self
            self._end_some()
        raise AssertionError("it does not come to an end")

    def _ask(self) -> bool:
        """Fill the free places; False if the run has stopped."""
        if self.stop is not None:
            return False
        free = self.spec.limits.parallel_trials - len(self.open)
        if free == 0 or (self.waves and self.open):
            return True
        step = engine.step(self.spec, self.history, free)
        assert step == engine.step(self.spec, self.history, free), "same history, same answer"
        assert len(step.assignments) <= free
        for number, decision in step.decisions.items():
            assert decision.reason, "every decision has a reason"
            if decision.action is Action.STOP:
                self.decisions.append((number, decision.reason))
        self.history = apply(self.history, step)
        self.open |= {one.trial: one for one in step.assignments}
        self.asked += step.assignments
        self.stop = None if step.stop is None else step.stop.reason
        assert step.assignments or self.open or self.stop is not None, "it waits for nothing"
        return self.stop is None

    def _end_some(self) -> None:
        numbers = sorted(self.open)
        chosen = numbers if self.waves else [self.order.choice(numbers)] if numbers else []
        for number in chosen:
            asked = self.open.pop(number)
            trials = list(self.history.trials)
            fails = self.fails(number, asked.resource or 0.0)
            trials[number - 1] = ended(trials[number - 1], asked, fails=fails)
            self.history = replace(self.history, trials=tuple(trials))


def never(number: int, resource: float) -> bool:
    return False


class SchedulerContract:
    """What holds for every scheduler, asked through the engine."""

    @pytest.fixture
    def section(self) -> dict[str, Any]:
        """Give the section `scheduler` of a spec."""
        raise NotImplementedError

    @pytest.fixture(params=["waves", "slots"])
    def waves(self, request: pytest.FixtureRequest) -> bool:
        """Say whether all places of a wave are free before any is filled."""
        return bool(request.param == "waves")

    def test_a_run_comes_to_its_end(self, section: dict[str, Any], waves: bool) -> None:
        played = Played(spec(section), never, Random(1), waves=waves).play()
        states = {trial.state for trial in played.history.trials}
        assert len(played.history.trials) == 9
        assert states <= {TrialState.COMPLETE, TrialState.STOPPED}
        assert TrialState.COMPLETE in states
        assert played.stop

    def test_no_trial_is_asked_for_the_same_twice(
        self, section: dict[str, Any], waves: bool
    ) -> None:
        asked = Played(spec(section), never, Random(2), waves=waves).play().asked
        assert len({(one.trial, one.resource) for one in asked}) == len(asked)

    def test_a_stopped_trial_has_a_reason_and_is_not_asked_again(
        self, section: dict[str, Any], waves: bool
    ) -> None:
        played = Played(spec(section), never, Random(3), waves=waves).play()
        reasons = dict(played.decisions)
        for trial in played.history.trials:
            if trial.state is TrialState.STOPPED:
                assert trial.reason == reasons[trial.number]
                assert trial.value is None

    def test_a_promoted_trial_goes_on_to_more(self, section: dict[str, Any], waves: bool) -> None:
        asked = Played(spec(section), never, Random(4), waves=waves).play().asked
        for number in {one.trial for one in asked}:
            reached = [one.resource for one in asked if one.trial == number]
            assert reached == sorted(reached, key=lambda one: float("inf") if one is None else one)

    def test_the_waves_that_it_announces_are_enough(self, section: dict[str, Any]) -> None:
        made, history = spec(section), History()
        for _ in range(engine.waves(made) + 1):
            step = engine.step(made, history, made.limits.parallel_trials)
            history = apply(history, step)
            if step.stop is not None:
                break
            trials = list(history.trials)
            for one in step.assignments:
                trials[one.trial - 1] = ended(trials[one.trial - 1], one, fails=False)
            history = replace(history, trials=tuple(trials))
        assert step.stop is not None

    def test_unknown_settings_are_refused_by_name(self, section: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="scheduler: unknown key"):
            engine.check(spec(section | {"no_such_setting": 1}))

    def test_when_all_fail_the_run_ends(self, section: dict[str, Any], waves: bool) -> None:
        played = Played(spec(section), lambda *_: True, Random(5), waves=waves).play()
        assert {trial.state for trial in played.history.trials} == {TrialState.FAILED}
        assert len(played.asked) == len(played.history.trials) == 9

    def test_a_run_that_is_to_end_keeps_no_trial_waiting(self, section: dict[str, Any]) -> None:
        """Whatever the moment: what waits is promoted, or stopped with a reason."""
        made = spec(section)
        played = Played(made, never, Random(6), waves=True)
        for _ in range(3):
            played._ask()
            played._end_some()
            step = engine.step(made, played.history, 0)
            if step.stop is not None:
                after = apply(played.history, step)
                assert not after.of(TrialState.WAITING)

    @given(data=st.data())
    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ]
    )
    def test_any_run_with_any_failures_ends_honestly(
        self, section: dict[str, Any], data: st.DataObject
    ) -> None:
        trials = data.draw(st.integers(1, 12), label="trials")
        parallel = data.draw(st.integers(1, 5), label="parallel")
        failing = data.draw(st.sets(st.integers(1, 12)), label="failing")
        made = spec(section, trials, parallel, seed=data.draw(st.integers(0, 5), label="seed"))
        order = Random(data.draw(st.integers(0, 99), label="order"))
        waves = data.draw(st.booleans(), label="waves")
        played = Played(made, lambda number, _: number in failing, order, waves=waves).play()
        assert len(played.history.trials) == trials
        assert not played.history.of(TrialState.RUNNING)
        assert not played.history.of(TrialState.WAITING)
        assert {t.number for t in played.history.of(TrialState.FAILED)} == {
            number for number in failing if number <= trials
        }
