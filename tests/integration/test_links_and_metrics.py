"""Buttons that lead from a task to what belongs to it, and what is counted and timed of trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from airflow.sdk import DAG
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.execution_time import task_runner
from airflow.sdk.observability import stats
from airflow.serialization.serialized_objects import DagSerialization

from hpo_airflow import installation, lineage, links, run_note, tasks, trial_progress
from hpo_airflow.dag_factory import report
from hpo_airflow.operators.trial import TrialOperator
from hpo_airflow.retry_delay import Ended
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Trial, TrialState
from hpo_lib.records import Attempt, AttemptState, RunKey, RunView, TrialView
from hpo_lib.records.shown import Shown
from hpo_lib.spec import load
from hpo_lib.spec.sections import Artifacts
from hpo_lib.store import upgrade
from hpo_lib.trials.idle import idle_share
from tests.integration.test_tasks import CONF, context
from tests.unit import factories

ARN = "arn:aws:ecs:eu-central-1:123456789012:task/training/0a1b2c"


def test_a_trial_has_buttons_that_airflow_knows_of_without_our_code() -> None:
    with DAG("links") as dag:
        TrialOperator.partial(task_id="trial", backend="local").expand(assignment=[])
        report()
    plain = DagSerialization.to_dict(dag)
    read = DagSerialization.from_dict(plain)
    names = {task.task_id: set(task.extra_links) for task in read.tasks}
    assert names["trial"] == {"Record", "Whole log", "Report", "Artifacts", "Cloud console"}
    assert names["report"] == {"Record", "Report", "Artifacts"}


def test_a_button_leads_where_the_task_has_been() -> None:
    task = SimpleNamespace()
    assert links.LOG.get_link(task, ti_key=None) == ""
    links.lead(task, links.of_trial(7, 3, Artifacts(uri="s3://bucket/a/b")))
    links.lead(task, {links.CONSOLE: links.ecs_task(ARN)})
    found = {link.name: link.get_link(task, ti_key=None) for link in links.OF_TRIAL}
    assert found["Record"].endswith("/hpo/api/v1/runs/7/trials/3")
    assert found["Whole log"].endswith("/hpo/api/v1/runs/7/trials/3/log")
    assert found["Report"].endswith("/hpo/api/v1/runs/7/report")
    assert found["Artifacts"].endswith("/s3/buckets/bucket?prefix=a/b/")
    assert found["Cloud console"].endswith(
        "/ecs/v2/clusters/training/tasks/0a1b2c?region=eu-central-1"
    )


def test_airflow_is_told_of_no_button_that_leads_nowhere() -> None:
    task = SimpleNamespace(operator_extra_links=links.OF_TRIAL)
    links.lead(task, links.of_trial(7, 3, None))
    assert [link.name for link in task.operator_extra_links] == ["Record", "Whole log", "Report"]


@pytest.mark.parametrize("uri", ["", "/disk", "file:///x", "javascript://alert", "s3x://b"])
def test_a_place_without_a_page_has_no_button(uri: str) -> None:
    assert links.bucket(uri) == ""


@pytest.mark.parametrize("arn", [None, "", "arn:aws:s3:::bucket", f"{ARN}/x", f"{ARN}#"])
def test_what_is_no_task_has_no_button(arn: str | None) -> None:
    assert links.ecs_task(arn) == ""


def test_names_of_others_do_not_get_out_of_an_address() -> None:
    assert links.bucket('s3://b"/<x>?y#z').endswith("/b%22?prefix=%3Cx%3E%3Fy%23z/")


def wave(*spans: tuple[float, float | None]) -> RunView:
    """Make a run with one wave of trials, from their attempts' starts and ends in seconds."""
    views = [
        TrialView(
            Trial(number, {}, TrialState.COMPLETE),
            "wave-01",
            [
                Attempt(
                    number,
                    1,
                    number,
                    1,
                    {},
                    AttemptState.SUCCEEDED,
                    factories.START + timedelta(seconds=start),
                    ended_at=None if end is None else factories.START + timedelta(seconds=end),
                )
            ],
        )
        for number, (start, end) in enumerate(spans, 1)
    ]
    return RunView(factories.run(), views)


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(0, 10), (0, 10)], 0.0),
        ([(0, 10), (0, 5)], 0.25),
        ([(0, 10), (0, 2), (1, 4)], 0.5),
        ([(0, 10), (0, None)], None),
        ([(0, 0)], None),
        ([], None),
    ],
)
def test_the_idle_share_of_a_wave(spans: list[Any], share: float | None) -> None:
    assert idle_share(wave(*spans), "wave-01") == (None if share is None else pytest.approx(share))
    assert idle_share(wave(*spans), "wave-02") is None


class FakeStatsD:
    """Keeps what Airflow would send to a StatsD."""

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}

    def incr(self, stat: str, **_: Any) -> None:
        self.sent[stat] = self.sent.get(stat, 0) + 1

    def timing(self, stat: str, dt: float, **_: Any) -> None:
        self.sent[stat] = dt

    def gauge(self, stat: str, value: float, **_: Any) -> None:
        self.sent[stat] = value


@pytest.fixture
def sent() -> Iterator[dict[str, Any]]:
    """What is sent, by name."""
    fake = FakeStatsD()
    stats.initialize(factory=lambda: fake, export_legacy_names=False)
    yield fake.sent
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def test_trials_are_counted_and_timed(
    sent: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    for name, value in {"HPO_HOME": str(tmp_path), "HPO_STORE": url}.items():
        monkeypatch.setenv(name, value)
    given = context(CONF | {"final": {}})
    tasks.validate(given, "local")
    (asked,), _ = tasks.suggest(given, 1)

    def ends_badly(attempt: Any, _: Any) -> Exit:
        Path(backend.log(attempt.handle)).parent.mkdir(parents=True)
        Path(backend.log(attempt.handle)).write_text("KeyError: 'units'\n")
        return Exit(Ending.EXITED, 1)

    backend = installation.backend("local")
    with pytest.raises(Ended, match="trial 1 failed: user_error: exit code 1: KeyError: 'units'"):
        tasks.perform(given, asked, "local", backend, ends_badly)
    assert given["ti"].rendered_map_index.endswith("· user_error: exit code 1: KeyError: 'units'")
    assert given["task"].hpo_links["Record"].endswith("/runs/1/trials/1")
    assert sent["hpo.trials.failed.user_error"] == 1
    assert sent["hpo.trial.waiting"] >= 0
    assert sent["hpo.trial.duration"] > 0
    assert sent["hpo.suggest.duration"] > 0


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("s3://bucket/data/a.csv", ("s3://bucket", "data/a.csv")),
        ("s3://bucket", ("s3://bucket", "/")),
        ("file:///data/a.csv", ("file", "/data/a.csv")),
        ("/data/a.csv", ("file", "/data/a.csv")),
        ("data/a.csv", ("file", "data/a.csv")),
    ],
)
def test_openlineage_has_names_of_its_own_for_places(place: str, name: tuple[str, str]) -> None:
    assert lineage.named(place) == name


def test_openlineage_is_told_of_data_and_models() -> None:
    bare = CONF | {"trial": {"command": ["python", "t.py"]}}
    kept = bare | {
        "reuse": {"data": ["s3://bucket/a.csv"], "code": ["t.py"]},
        "artifacts": {"uri": "s3://bucket/models"},
    }
    tried = replace(factories.attempt(3, 0, 9), handle={"folder": "/hpo/runs/1"})
    assert lineage.data_of(factories.run(kept)) == ["s3://bucket/a.csv"]
    (place,) = lineage.models_of(factories.run(kept), tried)
    assert place.startswith("s3://bucket/models/run/run-")
    assert place.endswith("/trial-0003/attempt-1")
    assert lineage.data_of(factories.run(bare)) == []
    assert lineage.models_of(factories.run(bare), tried) == ["/hpo/runs/1/output"]
    assert lineage.models_of(factories.run(bare), None) == []


def test_how_far_a_trial_is_goes_to_its_log_its_name_and_the_note(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []
    notes: list[str] = []
    supervisor = SimpleNamespace(send=lambda msg: sent.append(msg.rendered_map_index))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    monkeypatch.setattr(trial_progress, "standing", lambda _, key: f"{key.dag_id} goes on")
    monkeypatch.setattr(run_note, "write", lambda _, text: notes.append(text()))
    ti = SimpleNamespace(rendered_map_index="3: x=0.5")
    assignment = {"trial": 3, "label": "3: x=0.5"}
    with caplog.at_level("INFO"):
        tell = trial_progress.teller(
            {"ti": ti}, Mock(), RunKey("hpo_local", "a"), assignment, load(CONF)
        )
        tell(Shown({"loss": 0.25, "auc": 0.75}, 12))
    assert sent == [ti.rendered_map_index] == ["3: x=0.5 · loss 0.25, auc 0.75 at step 12"]
    assert notes == ["hpo_local goes on"]
    assert "trial 3 so far: loss 0.25, auc 0.75 at step 12" in caplog.text
