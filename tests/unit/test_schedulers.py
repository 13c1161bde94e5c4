"""Schedulers: the contract for each, and what the engine does with their answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpo_lib.core.trial import Action, Assignment, Decision, History, Trial, TrialState
from hpo_lib.errors import HpoError, SpecError
from hpo_lib.registry import ALLOWED_SCHEDULERS, SCHEDULERS
from hpo_lib.schedulers import NoSettings, Scheduler
from hpo_lib.search import engine
from hpo_lib.search.scheduling import checked
from tests.halves import HalvesScheduler
from tests.unit.scheduler_contract import SchedulerContract, apply, spec

HALVES = "tests.halves:HalvesScheduler"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED_SCHEDULERS, f"tests,{__name__}")


class TestFifo(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "fifo"}


class TestHalves(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": HALVES, "low": 2, "high": 9}


def test_every_registered_scheduler_has_a_contract_class() -> None:
    assert set(SCHEDULERS) == {"fifo"}


def test_the_better_half_is_promoted_and_the_rest_stopped() -> None:
    made, history = spec({"name": HALVES}, trials=4, parallel=4), History()
    step = engine.step(made, history, 4)
    assert [(one.resource, one.partial) for one in step.assignments] == [(1, True)] * 4
    history = apply(history, step)
    values = [0.4, 0.1, 0.3, 0.2]
    waiting = [
        replace(trial, state=TrialState.WAITING, rungs={1.0: value})
        for trial, value in zip(history.trials, values, strict=True)
    ]
    step = engine.step(made, replace(history, trials=tuple(waiting)), 4)
    assert [(one.trial, one.resource, one.resume_from) for one in step.assignments] == [
        (2, 3, 2),
        (4, 3, 4),
    ]
    assert step.assignments[0].reason == "rung 1: 0.1 is among the best 2"
    history = apply(replace(history, trials=tuple(waiting)), step)
    step = engine.step(made, history, 2)
    stops = {n: one.reason for n, one in step.decisions.items() if one.action is Action.STOP}
    assert stops == {
        1: "rung 1: 0.4 is not among the best 2",
        3: "rung 1: 0.3 is not among the best 2",
    }
    assert (list(step.assignments), step.stop) == ([], None)


def test_while_somebody_runs_nobody_is_stopped_and_the_run_goes_on() -> None:
    made = spec({"name": HALVES}, trials=2, parallel=2)
    trials = (
        Trial(1, {"x": 0.1}, TrialState.WAITING, rungs={1.0: 0.5}),
        Trial(2, {"x": 0.2}),
    )
    step = engine.step(made, History(trials), 1)
    assert (step.assignments, step.stop) == ((), None) or step.assignments == []
    assert {one.action for one in step.decisions.values()} == {Action.GO_ON}


def test_a_target_stops_what_waits_too() -> None:
    made = spec({"name": HALVES}, trials=3)
    objective = made.objectives[0].model_copy(update={"target": 0.5})
    made = made.model_copy(update={"objectives": (objective,)})
    trials = (
        Trial(1, {"x": 0.1}, TrialState.COMPLETE, 0.4, rungs={1.0: 0.5, 3.0: 0.4}),
        Trial(2, {"x": 0.2}, TrialState.WAITING, rungs={1.0: 0.6}),
    )
    step = engine.step(made, History(trials), 2)
    assert step.stop is not None
    assert step.decisions == {2: Decision.stop(f"not promoted: {step.stop.reason}")}


WAITING = Trial(1, {"x": 0.1}, TrialState.WAITING, rungs={3.0: 0.5})


@pytest.mark.parametrize(
    ("admitted", "said"),
    [
        ([Assignment(1, {}, resource=3.0)], "trial 1 to 3, where it has reached 3"),
        ([Assignment(2, {}, resource=1.0)], "trial 2 again, which is running"),
        ([Assignment(4, {})], "trials [4], where the next new one is 3"),
        ([Assignment(3, {}), Assignment(3, {})], "trials [3, 3], where the next new one is 3"),
        ([Assignment(1, {}, resource=9.0)] * 2, "trials [1, 1], where the next new one is 3"),
        ([Assignment(3, {}, partial=True)], "trial 3 to a rung without a resource"),
        ([Assignment(n, {}) for n in (3, 4, 5)], "3 trials for 2 free places"),
    ],
)
def test_a_scheduler_that_breaks_its_promises_is_told_so(
    admitted: list[Assignment], said: str
) -> None:
    history = History((WAITING, Trial(2, {"x": 0.2})))
    with pytest.raises(HpoError) as caught:
        checked(admitted, history, 2, "mine")
    assert str(caught.value) == f"scheduler mine admits {said}: that is a fault of the scheduler"


def test_settings_of_a_scheduler_are_checked_by_path() -> None:
    with pytest.raises(SpecError) as caught:
        engine.check(spec({"name": HALVES, "low": 0}))
    assert str(caught.value) == "scheduler.low: must be greater than or equal to 1, got 0"


def test_a_scheduler_of_ones_own_needs_the_operators_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ALLOWED_SCHEDULERS)
    with pytest.raises(SpecError, match=r"its operator can add tests.halves to HPO_SCHEDULERS"):
        spec({"name": HALVES})


class Idle(Scheduler):
    """Lets nothing begin."""

    Settings = NoSettings

    def admit(self, *_: Any) -> list[Assignment]:
        return []

    def judge(self, *_: Any) -> Decision:
        return Decision.go_on("why not")


def test_a_scheduler_that_admits_nothing_ends_the_run() -> None:
    step = engine.step(spec({"name": f"{__name__}:Idle"}), History(), 3)
    assert step.stop is not None
    assert step.stop.reason == "the scheduler lets no further trial begin, and none goes on"


def test_waves_are_the_schedulers_to_count() -> None:
    assert engine.waves(spec({"name": HALVES}, trials=9, parallel=3)) == 5
    assert HalvesScheduler.promotes
