"""`hpo airflow check`: what is found of a DAG that is paused, and of the operator's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


def test_a_mistake_in_the_operators_file_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "deployment.yaml"
    monkeypatch.setenv("HPO_CONFIG", str(file))
    assert checks._deployment().state == checks.ABSENT
    file.write_text("retention_days: 3")
    assert checks._deployment() == ("deployment.yaml", checks.OK, str(file))
    file.write_text("retention_dayz: 3")
    name, state, told = checks._deployment()
    assert (name, state) == ("deployment.yaml", checks.WRONG)
    assert told.startswith(f'{file}: config/deployment.yaml: unknown key "retention_dayz"')
