"""Slots: what each is to run, however often its task is killed, and nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.trial import Cause, TrialState
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey, RunStatus
from hpo_lib.records.audit import Actor
from hpo_lib.runs import changes, lifecycle, slots
from hpo_lib.runs.slots import Asking, name_of, number_of, settle_left
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade

KEY = RunKey("hpo_local", "manual")
SPEC: dict[str, Any] = {
    "name": "slots",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {
        "x": {"type": "int", "low": 1, "high": 60},
        "y": {"type": "int", "low": 1, "high": 9},
    },
    "sampler": {"name": "tpe", "seed": 4},
    "limits": {"max_trials": 12, "parallel_trials": 3},
    "mode": "async",
    "trial": {"command": ["true"]},
}
ADA = Actor("ada", "api")


@dataclass
class Bench:
    """A store, and slots whose trials end when the test says so."""

    store: Store
    home: Path
    asked: dict[int, Asking] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        backend = LocalBackend(home=self.home, workdir=self.home, path="", grace_s=60.0)
        self.installation = Installation(self.home, {"local": lambda: backend})

    def start(self, **changes: Any) -> Run:
        spec, provenance = load(SPEC | changes), Provenance()
        return self.store.start_run(KEY, spec, triggered_by="ada", provenance=provenance)

    def turn(self, slot: int) -> Any:
        if slot not in self.asked:
            self.asked[slot] = Asking(self.store, KEY, slot, self.installation)
        return self.asked[slot].take_turn()

    def kill(self, slot: int) -> None:
        """Forget what the slot's task knew: another one goes on in its place."""
        self.asked.pop(slot, None)

    def end(self, number: int, value: float | None = None) -> None:
        """Let a trial be complete, by default with a value that its parameters decide."""
        run = self.store.run(KEY)
        attempt = self.store.open_attempt(run.id, number, lambda _: {})
        params = self.store.trial(run.id, number).params
        loss = float(params["x"] * params["y"] % 17) if value is None else value
        found = Outcome(AttemptState.SUCCEEDED, "well", value=loss, metrics={"loss": loss})
        self.store.close_attempt(attempt.id, found, final=True)
        self.done.append(number)

    def fail(self, number: int) -> None:
        attempt = self.store.open_attempt(self.store.run(KEY).id, number, lambda _: {})
        found = Outcome(AttemptState.FAILED, "exit code 1", cause=Cause.USER_ERROR)
        self.store.close_attempt(attempt.id, found, final=True)

    def table(self) -> list[tuple[int, Any, Any]]:
        found = self.store.history(self.store.run(KEY).id)
        return [(one.number, dict(one.params), one.value) for one in found.trials]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs, to be copied."""
    file = tmp_path_factory.mktemp("empty") / "hpo.db"
    upgrade(f"sqlite:///{file}")
    return file


@contextmanager
def opened(empty: Path, folder: Path) -> Iterator[Bench]:
    folder.mkdir(exist_ok=True)
    shutil.copy(empty, folder / "hpo.db")
    with Store.open(f"sqlite:///{folder}/hpo.db") as store:
        yield Bench(store, folder)


@pytest.fixture
def bench(empty: Path, tmp_path: Path) -> Iterator[Bench]:
    with opened(empty, tmp_path) as made:
        yield made


def by_waves(bench: Bench) -> list[tuple[int, Any, Any]]:
    """Do all of a run's waves as a DAG with waves does."""
    for wave in range(1, 1_000):
        batch = lifecycle.next_wave(bench.store, KEY, wave, bench.installation)
        for one in batch.assignments:
            bench.end(one.trial)
        if batch.stop is not None:
            return bench.table()
    raise AssertionError("no end")


def by_slots(bench: Bench, choices: Iterator[int] | None = None) -> list[tuple[int, Any, Any]]:
    """Let slots run trials until each is told to stop; `choices` may kill their tasks at any time.

    A choice of 0 kills the task of a slot before its turn is known, 1 once it has its trial, 2 when
    the trial has ended; any other lets it be.
    """
    going = list(range(1, bench.store.run(KEY).spec.limits.parallel_trials + 1))
    while going:
        going = [slot for slot in going if goes_on(bench, slot, next(choices or iter(()), 9))]
    return bench.table()


def goes_on(bench: Bench, slot: int, choice: int) -> bool:
    """Do a slot's next trial, if it is given one, and say whether it is to ask again."""
    if choice == 0:
        bench.kill(slot)
    turn = bench.turn(slot)
    if choice == 1:
        bench.kill(slot)
        assert bench.turn(slot).assignment == turn.assignment, "it goes on with its trial"
    if turn.assignment is not None:
        bench.end(turn.assignment.trial)
    if choice == 2:
        bench.kill(slot)
    return turn.stop is None


def test_slots_have_names() -> None:
    assert (name_of(7), number_of(name_of(7)), number_of("wave-07")) == ("slot-007", 7, None)


def test_a_free_slot_is_given_a_trial_at_once_and_knows_every_result(bench: Bench) -> None:
    run = bench.start()
    first, second, third = (bench.turn(slot).assignment.trial for slot in (1, 2, 3))
    assert (first, second, third) == (1, 2, 3)
    bench.end(2)
    assert bench.turn(2).assignment.trial == 4
    assert bench.turn(1).assignment.trial == 1, "the others go on with theirs"
    states = [one.state for one in bench.store.history(run.id).trials]
    assert states == [TrialState.RUNNING, TrialState.COMPLETE, *[TrialState.RUNNING] * 2]


def test_one_slot_tries_what_waves_of_one_try(empty: Path, tmp_path: Path) -> None:
    limits = {"max_trials": 12, "parallel_trials": 1}
    with opened(empty, tmp_path / "waves") as bench:
        bench.start(mode="waves", limits=limits)
        by_hand = by_waves(bench)
    with opened(empty, tmp_path / "slots") as bench:
        bench.start(limits=limits)
        assert by_slots(bench) == by_hand
    assert len(by_hand) == 12


#: Random, so that a trial does not depend on which others have ended when it is asked for.
SMALL: dict[str, Any] = {
    "sampler": {"name": "random", "seed": 1},
    "limits": {"max_trials": 5, "parallel_trials": 2},
}


@pytest.fixture(scope="module")
def unhurt(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, Any, Any]]:
    """What a run of a DAG with waves tries, of which nothing is killed."""
    with opened(empty, tmp_path_factory.mktemp("unhurt")) as bench:
        bench.start(mode="waves", **SMALL)
        return by_waves(bench)


@settings(max_examples=20)
@given(kills=st.lists(st.integers(0, 3), max_size=12), mode=st.sampled_from(["waves", "async"]))
def test_kills_change_nothing(empty: Path, unhurt: Any, kills: list[int], mode: str) -> None:
    with TemporaryDirectory() as folder, opened(empty, Path(folder)) as bench:
        bench.start(mode=mode, **SMALL)
        assert by_slots(bench, iter(kills)) == unhurt
        assert sorted(bench.done) == [1, 2, 3, 4, 5], "nothing is run twice"


def test_waves_in_slots_wait_for_their_last_trial(bench: Bench) -> None:
    bench.start(mode="waves")
    assert [bench.turn(slot).assignment.trial for slot in (1, 2)] == [1, 2]
    bench.end(1)
    assert bench.turn(1).assignment.trial == 3, "a free slot takes what another has not begun"
    bench.end(3)
    waiting = bench.turn(1)
    assert waiting.assignment is waiting.stop is None
    assert bench.turn(3).assignment is None
    bench.end(2)
    left = bench.turn(1)
    assert left.assignment is left.stop is None, "the slot of the last trial asks"
    assert [bench.turn(slot).assignment.trial for slot in (2, 1, 3)] == [4, 5, 6]


def test_if_the_slot_of_the_last_trial_is_gone_another_asks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(mode="waves", limits={"max_trials": 4, "parallel_trials": 2})
    for slot in (1, 2):
        bench.turn(slot)
    bench.end(1)
    assert bench.turn(1).assignment is None
    bench.end(2)
    monkeypatch.setattr(slots, "_OTHERS_S", 0.0)
    assert bench.turn(1).assignment.trial == 3


def test_what_a_slot_has_left_is_ended_without_touching_others(bench: Bench) -> None:
    run = bench.start()
    for slot in (1, 2):
        bench.turn(slot)
    assert settle_left(bench.store, run, bench.installation, {2, 3}) == [2]
    states = {one.number: one.state for one in bench.store.history(run.id).trials}
    assert states == {1: TrialState.RUNNING, 2: TrialState.FAILED}
    assert bench.store.trial(run.id, 2).cause is Cause.LOST
    assert bench.turn(2).assignment.trial == 3, "a task that is cleared after all begins another"


def test_between_any_two_trials_people_stop_a_run_or_add_a_point(bench: Bench) -> None:
    run = bench.start()
    bench.turn(1)
    changes.add_point(bench.store, run, {"x": 59, "y": 9}, ADA)
    bench.end(1)
    assert dict(bench.turn(1).assignment.params) == {"x": 59, "y": 9}
    changes.stop(bench.store, bench.store.run(KEY), ADA)
    assert bench.turn(2).stop.reason == "stopped by ada"
    assert bench.turn(1).stop is not None, "a trial that had not begun is stopped, too"


def test_a_run_in_slots_that_has_ended_goes_on(bench: Bench) -> None:
    bench.start(limits={"max_trials": 2, "parallel_trials": 2})
    by_slots(bench)
    lifecycle.finish(bench.store, KEY, bench.installation)
    bench.asked.clear()
    changes.extend(bench.store, bench.store.run(KEY), 5, ADA, waves=None)
    assert len(by_slots(bench)) == 5
    assert lifecycle.finish(bench.store, KEY, bench.installation).status is RunStatus.COMPLETE


def test_slots_stop_for_failures(bench: Bench) -> None:
    bench.start(limits={"max_trials": 12, "parallel_trials": 2, "max_failed_trials": 9})
    for slot in (1, 2):
        bench.turn(slot)
    bench.fail(1)
    assert bench.turn(1).assignment.trial == 3, "one of a kind is none"
    bench.fail(2)
    stop = bench.turn(2).stop
    assert stop.failed
    assert stop.reason.startswith("all 2 trials that have ended failed alike: user_error")


def test_what_is_remembered_of_a_run_is_what_the_store_has(bench: Bench) -> None:
    run = bench.start()

    def same() -> bool:
        known, read = bench.store.slots.history(run), bench.store.history(run.id)
        return known.trials == read.trials

    for number in range(1, 7):
        bench.turn(number % 3 + 1)
        assert same()
        if number % 2:
            bench.end(max(trial.number for trial in bench.store.history(run.id).trials))
        assert same()
    bench.store.stop_trial(run.id, 1, "enough")
    assert same()
