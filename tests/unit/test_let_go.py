"""What becomes of an attempt whose Airflow task is asked to end: Airflow does not say why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from hpo_airflow import settings, tasks
from hpo_lib.errors import TransientError
from hpo_lib.record import Attempt, AttemptState

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

    def fail_trial(self, *_: Any) -> None:
        self.did.append("trial failed")

    def close_attempt(self, *_: Any, final: bool) -> None:
        self.did.append("trial failed" if final else "to be attempted again")


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
    states: list[str] | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []

    @contextmanager
    def open_store() -> Iterator[FakeStore]:
        yield FakeStore(did)

    monkeypatch.setattr(settings, "open_store", open_store)
    with pytest.raises(TransientError):
        tasks.let_go(FakeTask(states), FakeBackend(did), ATTEMPT)
    assert did == expected
