"""Files in a folder of experiments on a real Airflow: due, changed, broken, removed, no restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo_lib.core.trial import TrialState
from hpo_lib.errors import HpoError, TransientError
from hpo_lib.records import RunKey, RunStatus
from tests.acceptance.conftest import Stack, until
from tests.acceptance.runs.test_run import conf

pytestmark = pytest.mark.airflow

ASSET = "file:///srv/data.csv"


@dataclass(frozen=True)
class Plan:
    """An Airflow with a folder of experiments, and what a user does with it."""

    stack: Stack
    folder: Path

    def put(self, name: str, text: str | None = None, **changes: Any) -> str:
        """Put a file in place at once, as an installation should; give its DAG."""
        script = changes.pop("script", "echo loss=$1")
        part = self.folder / f".{name}.part"
        part.write_text(yaml.safe_dump(conf(script, **changes)) if text is None else text)
        part.replace(self.folder / name)
        return f"hpo_scheduled_{Path(name).stem}"

    def details(self, dag_id: str) -> dict[str, Any]:
        """Give what the API says of a DAG, nothing if there is none."""
        try:
            return dict(self.stack.ask("GET", f"/dags/{dag_id}/details"))
        except HpoError:
            return {}

    def listed(self) -> dict[str, dict[str, Any]]:
        """Give the DAGs as the first page of the UI lists them."""
        dags = self.stack.ask("GET", "/dags?dag_id_pattern=hpo_scheduled&limit=100")
        return {dag["dag_id"]: dag for dag in dags["dags"]}

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """List a DAG's runs, the oldest first."""
        path = f"/dags/{dag_id}/dagRuns?order_by=run_after&limit=100"
        return list(self.stack.ask("GET", path)["dag_runs"])

    def first(self, dag_id: str, kind: str) -> RunKey:
        """Wait for a DAG's first run of a kind."""

        def found() -> list[str]:
            return [run["dag_run_id"] for run in self.runs(dag_id) if run["run_type"] == kind]

        return RunKey(dag_id, until(found, f"a run of {dag_id}, {kind}")[0])


@pytest.fixture
def plan(stack: Stack, experiments: Path) -> Plan:
    """The folder of the installation."""
    return Plan(stack, experiments)


@dataclass(frozen=True)
class Gate:
    """Holds every trial of a file back until it is opened."""

    path: Path

    @property
    def script(self) -> str:
        """The trial's program."""
        return f"until [ -e {self.path} ]; do sleep 0.2; done; echo loss=$1"

    def open(self) -> None:
        """Let all trials go on."""
        self.path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate of the test's own."""
    return Gate(tmp_path / "open")


def one_by_one(trials: int, gate: Gate, low: float = 0.0) -> dict[str, Any]:
    """Describe a file of as many waves as trials, which is due only by hand."""
    return {
        "script": gate.script,
        "space": {"x": {"type": "float", "low": low, "high": low + 1.0}},
        "limits": {"max_trials": trials, "parallel_trials": 1},
        "schedule": {"assets": ["file:///never"]},
    }


def happened(stack: Stack, asset: Any) -> bool:
    """Note an event of an asset, unless Airflow's database in a file is locked just now (3.3.2)."""
    try:
        stack.client().call("POST", "/assets/events", {"asset_id": asset["id"]})
    except TransientError:
        return False
    return True


def test_files_are_run_when_they_are_due(plan: Plan) -> None:
    stack, now = plan.stack, datetime.now(UTC)
    often = plan.put("often.yaml", schedule={"cron": "* * * * *"}, script="sleep 1; echo loss=$1")
    # An hour late: Airflow, left alone, would run it at once.
    late = {"cron": f"{now.minute} {(now.hour - 1) % 24} * * *"}
    nightly = plan.put("nightly.yaml", schedule=late)
    data = plan.put("data.yaml", schedule={"assets": [ASSET], "cron": "0 0 1 1 *"})
    paused = plan.put("paused.yaml", schedule={"cron": "* * * * *", "paused": True})
    until(lambda: {often, nightly, data, paused} <= set(plan.listed()), "the files' DAGs")
    next_run = datetime.fromisoformat(plan.listed()[nightly]["next_dagrun_run_after"])
    assert next_run > now + timedelta(hours=20)

    (asset,) = stack.ask("GET", "/assets?uri_pattern=data.csv")["assets"]
    until(lambda: happened(stack, asset), "the asset's event")
    key = plan.first(data, "asset_triggered")
    assert stack.wait(key) == "success"
    assert stack.run(key).triggered_by == "asset_triggered"

    key = plan.first(often, "scheduled")
    assert stack.wait(key) == "success"
    run = stack.run(key)
    assert (run.status, run.triggered_by) == (RunStatus.COMPLETE, "scheduled")
    assert run.provenance.file == "often.yaml"
    assert "schedule" not in run.document
    assert stack.states(key, "wave_02.trial") == ["success", "success"]
    assert stack.states(key, "wave_03.trial") == [], "as many waves as the file needs"

    (plan.folder / "often.yaml").unlink()
    until(lambda: often not in plan.listed(), "the end of the removed file's DAG")
    assert plan.runs(nightly) == []
    assert plan.runs(paused) == []
    assert [run["run_type"] for run in plan.runs(data)] == ["asset_triggered"]


def test_by_hand_the_file_is_run_and_a_conf_refused(plan: Plan) -> None:
    dag = plan.put("by-hand.yaml", schedule={"cron": "0 3 * * *", "paused": True})
    until(lambda: dag in plan.listed(), "the file's DAG")
    keys = [RunKey(dag, plan.stack.client().trigger(dag, given)) for given in ({}, conf())]
    assert [plan.stack.wait(key) for key in keys] == ["success", "failed"]
    ran, refused = (plan.stack.run(key) for key in keys)
    assert ran.triggered_by == "admin"
    assert refused.status is RunStatus.REFUSED
    assert (refused.reason or "").startswith("conf: must be empty, for this DAG runs by-hand.yaml")


def test_a_broken_file_shows_its_error_until_it_is_mended(plan: Plan) -> None:
    dag = plan.put("mended.yaml", "name: [")
    good = plan.put("beside.yaml", schedule={"cron": "0 3 * * *"})
    until(lambda: {dag, good} <= set(plan.listed()), "both DAGs")
    seen = plan.listed()[dag]
    assert seen["dag_display_name"] == "hpo_scheduled_mended (broken)"
    assert {tag["name"] for tag in seen["tags"]} == {"hpo", "broken"}
    assert seen["description"].startswith("broken: spec: must be YAML")
    assert "must be YAML" in plan.details(dag)["doc_md"]
    assert {tag["name"] for tag in plan.listed()[good]["tags"]} == {"hpo", "local", "run"}

    key = RunKey(dag, plan.stack.client().trigger(dag, {}))
    assert plan.stack.wait(key) == "failed"
    assert plan.stack.run(key).status is RunStatus.REFUSED
    assert "mended.yaml: spec: must be YAML" in plan.stack.log(key, "validate")

    plan.put("mended.yaml", schedule={"cron": "0 3 * * *"})
    until(lambda: plan.listed()[dag]["dag_display_name"] == dag, "the mended DAG")
    again = RunKey(dag, plan.stack.client().trigger(dag, {}))
    assert plan.stack.wait(again) == "success"
    assert plan.listed()[good]["is_stale"] is False


def test_a_run_keeps_its_spec_whatever_becomes_of_its_file(plan: Plan, gate: Gate) -> None:
    stack = plan.stack
    names = ("edited", "shorter", "spoilt")
    dags = [plan.put(f"{name}.yaml", **one_by_one(3, gate)) for name in names]
    until(lambda: set(dags) <= set(plan.listed()), "the files' DAGs")
    first = [RunKey(dag, stack.client().trigger(dag, {})) for dag in dags]
    second = [RunKey(dag, stack.client().trigger(dag, {})) for dag in dags[:2]]
    for key in first:
        until(lambda key=key: stack.states(key, "wave_01.trial") == ["running"], "a trial")
    states = [stack.client().state(key.dag_id, key.dag_run_id) for key in second]
    assert states == ["queued", "queued"], "one run at a time"

    plan.put("edited.yaml", **one_by_one(3, gate, low=5.0))
    plan.put("shorter.yaml", **one_by_one(2, gate, low=5.0))
    plan.put("spoilt.yaml", "name: [")
    for dag, sign in zip(dags, ("low: 5.0", "max_trials: 2", "must be YAML"), strict=True):
        until(lambda dag=dag, sign=sign: sign in plan.details(dag)["doc_md"], f"{dag}'s change")
    gate.open()

    assert [stack.wait(key) for key in first] == ["success", "failed", "failed"]
    edited, shorter, spoilt = (stack.run(key) for key in first)
    assert [run.spec.limits.max_trials for run in (edited, shorter, spoilt)] == [3, 3, 3]
    assert (shorter.reason or "").startswith(
        "broken off after 2 of 3 trials: shorter.yaml was changed while it ran, its DAG has 2 waves"
    )
    assert (spoilt.reason or "").startswith(
        "broken off after 1 of 3 trials: spoilt.yaml has become unreadable while it ran: spec: must"
    )
    for run, made in zip((edited, shorter, spoilt), (3, 2, 1), strict=True):
        trials = [view.trial for view in stack.store.view(run.id).trials]
        assert len(trials) == made
        assert all(trial.params["x"] <= 1.0 for trial in trials), "the run's own space"

    assert [stack.wait(key) for key in second] == ["success", "success"]
    for key, made in zip(second, (3, 2), strict=True):
        trials = [view.trial for view in stack.store.view(stack.run(key).id).trials]
        assert len(trials) == made
        assert all(trial.params["x"] >= 5.0 for trial in trials), "the file's new space"


def test_a_run_waits_for_its_file_and_housekeeping_says_so(plan: Plan, gate: Gate) -> None:
    stack = plan.stack
    dag = plan.put("removed.yaml", **one_by_one(2, gate))
    until(lambda: dag in plan.listed(), "the file's DAG")
    key = RunKey(dag, stack.client().trigger(dag, {}))
    # A task that has yet to read the file when it is removed is put back by Airflow.
    until(lambda: stack.states(key, "wave_01.trial") == ["running"], "a trial")
    run = stack.run(key)
    until(lambda: stack.store.attempts(run.id, 1), "an attempt")

    (plan.folder / "removed.yaml").unlink()
    until(lambda: dag not in plan.listed(), "the end of the DAG")
    gate.open()
    until(lambda: stack.store.trial(run.id, 1).state is TrialState.COMPLETE, "the trial's end")
    assert f"run {run.id} waits: removed.yaml was removed while it ran" in stack.sweep()
    assert stack.run(key).status is RunStatus.RUNNING

    plan.put("removed.yaml", **one_by_one(2, gate))
    assert [one.trial.state for one in stack.complete(key).trials] == [TrialState.COMPLETE] * 2
