"""`hpo airflow check`: what is found of a DAG that is paused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hpo_airflow import checks


@pytest.mark.parametrize(
    ("paused", "fix", "state", "told"),
    [
        (False, False, checks.OK, "it is not paused"),
        (True, False, checks.WRONG, "hpo_local is paused in Airflow: nothing starts until it is"),
        (True, True, checks.MENDED, "it was paused, and is not any more"),
    ],
)
def test_a_paused_dag_is_told_and_unpaused_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, paused: bool, fix: bool, state: str, told: str
) -> None:
    dag = SimpleNamespace(is_paused=paused)

    @contextmanager
    def session() -> Iterator[Any]:
        yield SimpleNamespace(get=lambda *_: dag)

    monkeypatch.setattr("airflow.utils.session.create_session", session)
    found = checks._pause(fix=fix)
    assert found.state == state
    assert found.text.startswith(told)
    assert dag.is_paused == (paused and not fix)
