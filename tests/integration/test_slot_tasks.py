"""What the task of a slot does, with a real store and fakes of Airflow and of what trials do."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_airflow import slot_tasks, tasks
from hpo_airflow.api.logs import section_of, task_of
from hpo_airflow.operators.trial import TrialOperator
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import RunKey
from hpo_lib.store import Store, upgrade
from tests import clocks
from tests.integration.test_tasks import CONF, context

SLOTTED = CONF | {"mode": "async", "limits": {"max_trials": 4, "parallel_trials": 2}}
KEY = RunKey("hpo_local", "manual")


class FakeSlot(TrialOperator):
    """A slot whose trials do what a test says, in place of processes."""

    played: Callable[[FakeSlot, int], Exit]

    def _launch(self, attempt: Any, _: Any) -> Exit:
        self._look_after(attempt)
        log = Path(self._backend.log(attempt.handle))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("loss=0.5\n")
        return self.played(self, attempt.trial)


def slot(played: Callable[[FakeSlot, int], Exit]) -> FakeSlot:
    made = FakeSlot(task_id="slot", assignment={"slot": 1, "label": "slot 1"}, backend="local")
    made.played = played
    return made


def well(_: Any, __: int) -> Exit:
    return Exit(Ending.EXITED, 0)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a task of a run in two slots."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    for name, value in {"HPO_HOME": str(tmp_path), "HPO_STORE": url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slot_tasks, "_pause", lambda *_: None)
    found = context(SLOTTED | {"final": {}})
    tasks.validate(found, "local", in_slots=True)
    return found


@pytest.fixture
def store(given: dict[str, Any], tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/hpo.db") as opened:
        yield opened


def test_a_slot_runs_trial_after_trial_and_goes_on_after_a_failure(
    given: dict[str, Any], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    opened, stop = slot_tasks.opened(given)
    assert (opened, stop) == ([{"slot": n, "of": 2, "label": f"slot {n}"} for n in (1, 2)], None)
    worker = slot(lambda _, trial: Exit(Ending.EXITED, 3 if trial == 2 else 0))
    with caplog.at_level(logging.INFO):
        assert worker.execute(given) == {"slot": 1, "trials": 4}
    states = [one.state for one in store.history(1).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAILED, *[TrialState.COMPLETE] * 2]
    assert "trial 2 failed: user_error: exit code 3" in caplog.text
    assert "no further trials: max trials reached: 4 of 4" in caplog.text
    assert worker.assignment["label"] == "slot 1: 4 trials"
    lines = section_of(caplog.messages, 2)
    assert lines[0].startswith("attempt 1 of trial 2;")
    assert lines[-1].startswith("trial 2 failed: ")
    assert task_of(store, store.run(KEY), 2) == ("slot", 0)
    assert slot_tasks.opened(given) == (opened, None), "for those that somebody clears"
    assert slot(well).execute(given) == {"slot": 1, "trials": 0}


def test_a_slot_that_is_asked_to_end_begins_no_other_trial_and_its_next_task_goes_on(
    given: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def let_go(*_: Any) -> None:
        raise TransientError("a running trial waits for a retry")

    def killed(worker: FakeSlot, trial: int) -> Exit:
        if trial == 2:
            signal.raise_signal(signal.SIGTERM)
        return Exit(Ending.EXITED, 0)

    monkeypatch.setattr(tasks, "let_go", let_go)
    first = slot(killed)
    before = signal.signal(signal.SIGTERM, lambda *_: first.on_kill())
    try:
        with pytest.raises(TransientError, match="waits for a retry"):
            first.execute(given)
    finally:
        signal.signal(signal.SIGTERM, before)
    states = [one.state for one in store.history(1).trials]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]
    ended = slot(well)
    ended.on_kill()
    with pytest.raises(TransientError, match="asked to end"):
        ended.execute(given)
    again: list[int] = []

    def noted(_: Any, trial: int) -> Exit:
        again.append(trial)
        return Exit(Ending.EXITED, 0)

    assert slot(noted).execute(given)["trials"] == 3
    assert again == [2, 3, 4], "it takes its own trial over"
    assert len(store.attempts(1, 2)) == 1


def test_a_lost_attempt_is_followed_by_another_in_the_same_task(
    given: dict[str, Any], store: Store
) -> None:
    lost = [1, 3]

    def played(_: Any, trial: int) -> Exit:
        if trial in lost:
            lost.remove(trial)
            return Exit(Ending.PREEMPTED, detail="its machine was taken away")
        return Exit(Ending.EXITED, 0)

    assert slot(played).execute(given)["trials"] == 4
    assert [len(store.attempts(1, number)) for number in (1, 2, 3, 4)] == [2, 1, 2, 1]


def test_a_run_that_was_refused_needs_no_slots(given: dict[str, Any]) -> None:
    assert slot_tasks.opened(given | context(CONF, "other"))[1] == "the run was never started"


def test_one_slot_after_the_other_writes_the_runs_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads the whole run for it: every half minute one does, however many they are."""
    now, written = [1_000.0], []
    clocks.give(monkeypatch, slot_tasks, monotonic=lambda: now[0])
    shown = {number: slot_tasks._Shown({}, number, 3) for number in (1, 2, 3)}
    for second in range(181):
        now[0] = 1_000.0 + second
        for number, one in shown.items():
            told = (second, number)
            monkeypatch.setattr(slot_tasks.run_note, "write", lambda *_, t=told: written.append(t))
            one.standing(None)  # type: ignore[arg-type]
    assert written == [(0, 1), (30, 2), (60, 3), (90, 1), (120, 2), (150, 3), (180, 1)]
