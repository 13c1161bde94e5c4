"""What becomes of an attempt whose Airflow task is asked to end: Airflow does not say why."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from hpo_airflow import tasks
from hpo_airflow.operators import trial
from hpo_lib.errors import TransientError
from hpo_lib.records import Attempt, AttemptState

ATTEMPT = Attempt(1, 1, 3, 1, {"name": "x"}, AttemptState.RUNNING, datetime.now(UTC))


class FakeTask:
    """Says of itself what Airflow would; None stands for no answer."""

    dag_id, task_id, run_id, map_index = "hpo_local", "wave_01.trial", "run", 3

    def __init__(self, states: list[str] | None) -> None:
        self.states = states

    def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
        if self.states is None:
            raise RuntimeError("the API server is away")
        return {"run": dict(zip(["wave_01.trial_3"], self.states, strict=False))}


class FakeBackend:
    def __init__(self, did: list[str]) -> None:
        self.did = did

    def release(self, handle: Any) -> None:
        self.did.append("released")

    def end(self, handle: Any) -> None:
        self.did.append("ended")


class FakeStore:
    def __init__(self, did: list[str]) -> None:
        self.did = did

    def fail_trial(self, *_: Any, stopped_by: object) -> None:
        self.did.append("trial failed")

    def close_attempt(self, *_: Any, final: bool) -> None:
        self.did.append("trial failed" if final else "to be attempted again")


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to the attempt, also in the store."""
    done: list[str] = []

    @contextmanager
    def open_store() -> Iterator[FakeStore]:
        yield FakeStore(done)

    monkeypatch.setattr(tasks, "open_store", open_store)
    return done


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (None, ["released"]),  # no answer: the API server is restarted
        (["running"], ["released"]),  # the worker is stopped
        (["up_for_retry"], ["released"]),  # it was out of reach for longer than Airflow waits
        (["scheduled"], ["released"]),
        (["queued"], ["released"]),
        (["restarting"], ["to be attempted again", "ended"]),  # cleared
        (["failed"], ["trial failed", "ended"]),  # marked
        (["success"], ["trial failed", "ended"]),
        ([], ["trial failed", "ended"]),  # its run was deleted
    ],
)
def test_an_attempt_is_ended_only_if_somebody_ended_its_task(
    states: list[str] | None, expected: list[str], did: list[str]
) -> None:
    with pytest.raises(TransientError):
        tasks.let_go(FakeTask(states), FakeBackend(did), ATTEMPT)
    assert did == expected


@contextmanager
def asked_to_end(task: FakeTask, did: list[str]) -> Iterator[None]:
    """A task's operator, which SIGTERM calls as Airflow has it do."""
    operator = trial.TrialOperator(task_id="trial", assignment={}, backend="local")
    operator._attempt, operator._backend, operator._ti = ATTEMPT, FakeBackend(did), task
    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_task_is_asked_to_end_and_does_at_once(did: list[str]) -> None:
    with asked_to_end(FakeTask(["failed"]), did), pytest.raises(TransientError):
        signal.raise_signal(signal.SIGTERM)
    assert did == ["trial failed", "ended"]


def test_a_task_that_is_asking_is_answered_before_it_ends(
    did: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = threading.Lock()

    class Queued(FakeTask):
        def get_task_states(self, **_: Any) -> dict[str, dict[str, str]]:
            with supervisor:
                return super().get_task_states()

    monkeypatch.setattr(trial, "_AT_ONCE_S", 0.05)
    with asked_to_end(Queued(["restarting"]), did):
        with supervisor:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
            assert did == [], "it goes on"
        with pytest.raises(TransientError):
            time.sleep(60)
    assert did == ["to be attempted again", "ended"]


@pytest.mark.parametrize(
    "path",
    [
        "trial:TrialOperator",
        "kubernetes:KubernetesTrialOperator",
        "ecs:EcsTrialOperator",
    ],
)
def test_a_task_that_is_asked_to_end_before_its_trial_begins_begins_none(path: str) -> None:
    module, _, name = path.partition(":")
    kind = getattr(import_module(f"hpo_airflow.operators.{module}"), name)
    operator = kind(task_id="trial", assignment={}, backend="local")
    operator._backend = None  # what would begin it
    operator.on_kill()
    with pytest.raises(TransientError, match="asked to end before its trial began"):
        operator._launch(ATTEMPT, None)


@pytest.mark.parametrize("path", ["kubernetes:KubernetesTrialOperator", "ecs:EcsTrialOperator"])
def test_a_slot_finds_airflows_own_operator_as_new_for_each_trial(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = path.partition(":")
    kind = getattr(import_module(f"hpo_airflow.operators.{module}"), name)
    operator = kind(task_id="slot", assignment={"slot": 1}, backend="local")
    operator._context = operator._backend = None
    operator._first = before = dict(operator.__dict__)
    kept: list[dict[str, object]] = []

    def seen(*_: object) -> None:
        kept.append(dict(operator.__dict__))
        operator.pod = operator.arn = operator.pod_manager = "of a trial"

    monkeypatch.setattr(tasks, "see_through", seen)
    for number in (1, 2):
        operator.see_through(None, {"trial": number})
    assert kept == [{**before, "_first": before}] * 2
    operator.on_kill()
    with pytest.raises(TransientError, match="asked to end"):
        operator.see_through(None, {"trial": 3})
