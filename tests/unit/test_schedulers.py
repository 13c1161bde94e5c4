"""Schedulers: the contract for each, and what the engine does with their answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from hpo_lib.core.trial import Action, Assignment, Decision, History, Trial, TrialState
from hpo_lib.errors import PartFailed, SpecError
from hpo_lib.registry import ALLOWED_SCHEDULERS, SCHEDULERS
from hpo_lib.schedulers import NoSettings, Scheduler
from hpo_lib.search import engine
from hpo_lib.search.scheduling import check_admitted
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


class TestAuto(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "auto", "max": 9}


class TestHalves(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": HALVES, "low": 2, "high": 9}


class TestAsha(SchedulerContract):
    @pytest.fixture(params=[1, 2])
    def section(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"name": "asha", "max": 9, "brackets": request.param}


class TestAshaThatStops(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "asha", "max": 9, "type": "stopping"}


class TestHyperband(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "hyperband", "max": 9}


class TestSuccessiveHalving(SchedulerContract):
    @pytest.fixture(params=[None, 4])
    def section(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        trials = {} if request.param is None else {"trials": request.param}
        return {"name": "successive_halving", "max": 9, **trials}


class TestMedian(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "median"}


class TestScreen(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "screen", "max": 9, "keep": 3}


class TestPbt(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "pbt", "population": 4, "max": 3}


def test_every_registered_scheduler_has_a_contract_class() -> None:
    here = [one for one in globals().values() if isinstance(one, type)]
    classes = {one.__name__ for one in here if issubclass(one, SchedulerContract)}
    assert {f"Test{name.title().replace('_', '')}" for name in SCHEDULERS} <= classes


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
SPACE = spec({"name": "fifo"}).search_space
X, Y, Z = ({"x": x} for x in (0.3, 0.4, 0.5))


@pytest.mark.parametrize(
    ("admitted", "said"),
    [
        ([Assignment(1, {}, resource=3.0)], "trial 1 to 3, where it has reached 3"),
        ([Assignment(2, {}, resource=1.0)], "trial 2 again, which is running"),
        ([Assignment(4, X)], "trials [4], where the next new one is 3"),
        ([Assignment(3, X), Assignment(3, X)], "trials [3, 3], where the next new one is 3"),
        ([Assignment(1, {}, resource=9.0)] * 2, "trials [1, 1], where the next new one is 3"),
        ([Assignment(3, X, partial=True)], "trial 3 to a rung without a resource"),
        ([Assignment(n, X) for n in (3, 4, 5, 6)], "4 trials for 3 free places"),
        ([Assignment(n, X) for n in (3, 4, 5)], "3 new trials, where the run may begin 2"),
        ([Assignment(3, X, resource=math.nan)], "trial 3 to nan, which is no amount"),
        ([Assignment(3, X, resource=-1.0)], "trial 3 to -1, which is no amount"),
        ([Assignment(3, X, resource=math.inf)], "trial 3 to inf, which is no amount"),
        ([Assignment(3, X, resource="9")], "trial 3 to '9', which is no number"),
        ([Assignment(3, X, resume_from=99)], "trial 3 to go on from 99, which is no trial"),
        ([Assignment(3, {"x": 0.1})], "trial 3 with parameters that were tried already"),
        ([Assignment(3, X), Assignment(4, X)], "trial 4 with parameters that were tried already"),
        (
            [Assignment(3, {"x": 7.0})],
            "trial 3 outside the space (x: must be within [0.0, 1.0], got 7.0)",
        ),
        ([("x", 1)], "('x', 1), which is no Assignment"),
    ],
)
def test_a_scheduler_that_breaks_its_promises_is_told_so(admitted: list[Any], said: str) -> None:
    history = History((WAITING, Trial(2, {"x": 0.2})))
    with pytest.raises(PartFailed) as caught:
        check_admitted(admitted, history, SPACE, capacity=3, room=2, name="mine")
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


class Fails(Scheduler):
    """Raises when there is a history."""

    Settings = NoSettings

    def admit(self, history: History, *_: Any) -> Any:
        return [][len(history.trials)] if history.trials else None

    def judge(self, *_: Any) -> Any:
        return "go on"


def test_a_scheduler_that_fails_stops_the_run_with_its_fault() -> None:
    made = spec({"name": f"{__name__}:Fails"})
    fault = f"scheduler {__name__}:Fails failed: "
    empty = engine.step(made, History(), 3)
    assert empty.stop is not None
    assert empty.stop.failed
    assert empty.stop.reason.startswith(f"{fault}TypeError: 'NoneType' object is not iterable")
    going = engine.step(made, History((Trial(1, {"x": 0.1}),)), 3)
    assert going.stop is not None
    assert going.stop.reason == f"{fault}it judges trial 1 as 'go on'"
    waiting = replace(WAITING, state=TrialState.COMPLETE, value=1.0)
    ended = engine.step(made, History((waiting,)), 3)
    assert ended.stop is not None
    assert ended.stop.reason.startswith(f"{fault}IndexError: list index out of range (test_sched")


class Odd:
    """Has no settings, and counts no waves."""


class Short(Scheduler):
    Settings = NoSettings

    def __init__(self) -> None:
        pass


class Wrong(Idle):
    def waves(self, *_: Any) -> Any:
        return -5


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Odd", r"scheduler.name: .*Odd must have Settings, a model that inherits hpo_lib.valid"),
        ("Short", r"scheduler.name: .*Short cannot be built: TypeError: .* positional argument "),
        ("Wrong", r"scheduler.name: .*Wrong must count at least 1 wave, got -5"),
        ("spec", r"scheduler '.*:spec' cannot be loaded: it is no class"),
        ("Gone", r"scheduler '.*:Gone' cannot be loaded: "),
    ],
)
def test_a_class_that_lacks_parts_is_refused_in_words(name: str, said: str) -> None:
    asked = spec({"name": f"{__name__}:{name}"})
    with pytest.raises(SpecError, match=said):
        engine.waves(asked)
    with pytest.raises(SpecError, match=said):
        engine.check(asked)


def test_time_that_is_nearly_over_promotes_nobody() -> None:
    made = spec({"name": HALVES}, trials=2)
    limits = made.limits.model_copy(update={"max_duration": "30m"})
    trials = tuple(
        Trial(n, {"x": n / 10}, TrialState.WAITING, rungs={1.0: n / 10}, duration_s=600.0)
        for n in (1, 2)
    )
    late = engine.step(made.model_copy(update={"limits": limits}), History(trials, 1_790.0), 2)
    assert late.stop is not None
    assert late.stop.reason.startswith("duration: ")


def test_patience_is_lost_also_when_all_trials_have_begun() -> None:
    made = spec({"name": HALVES}, trials=4)
    made = made.model_copy(update={"limits": made.limits.model_copy(update={"patience": 1})})
    trials = (
        Trial(1, {"x": 0.1}, TrialState.COMPLETE, 0.1, rungs={1.0: 0.1, 3.0: 0.1}),
        Trial(2, {"x": 0.2}, TrialState.COMPLETE, 0.2, rungs={1.0: 0.2, 3.0: 0.2}),
        Trial(3, {"x": 0.3}, TrialState.WAITING, rungs={1.0: 0.3}),
        Trial(4, {"x": 0.4}, TrialState.WAITING, rungs={1.0: 0.4}),
    )
    step = engine.step(made, History(trials), 2)
    assert step.stop is not None
    assert step.stop.reason.startswith("patience: ")


def test_final_training_goes_as_far_as_the_winner_did() -> None:
    made = spec({"name": HALVES})
    best = Trial(1, {"x": 0.1}, TrialState.COMPLETE, 0.1, rungs={1.0: 0.3, 3.0: 0.1})
    final = engine.final_step(made, History((best,)), {"x": 0.9})
    assert {(one.resource, one.partial) for one in final.assignments} == {(3.0, False)}
    plain = engine.final_step(made, History((replace(best, rungs={}),)), None)
    assert {one.resource for one in plain.assignments} == {None}


def test_a_run_of_which_all_were_stopped_says_so() -> None:
    stopped = replace(WAITING, state=TrialState.STOPPED)
    found = engine.conclude(spec({"name": HALVES}), History((stopped,)), Decision.stop("enough"))
    assert found.reason == "no trial is complete: 0 failed, 1 stopped; enough"
