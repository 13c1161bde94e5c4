"""Teams side by side in one store: names, champions, advice, and DAGs of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.core.teams import Team
from hpo_lib.core.trial import Assignment
from hpo_lib.errors import SpecError
from hpo_lib.installation import Installation
from hpo_lib.records import Model, Provenance, Run, RunKey, RunStatus, attempt_uri, slug_of
from hpo_lib.runs import admission
from hpo_lib.store import Store
from tests.integration.databases import OnPostgresql, OnSqlite
from tests.integration.models_contract import SPEC, Wave, ask, complete

ROOT = Path(__file__).resolve().parents[2]
CONF: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"command": ["true"]},
}
TEAMS = {"vision": Team(shares_with=("nlp",)), "nlp": Team(), "audio": Team()}


class Free:
    """A backend that allows everything."""

    keeps_output = True

    def permit(self, trial: Any) -> None:
        """Do nothing."""


def installation(team: str, home: Path) -> Installation:
    backends: Any = {"local": Free}
    return Installation(home, backends, team=team, teams=TEAMS)


def begin(store: Store, team: str, home: Path, night: int = 1, **changes: Any) -> Run:
    return admission.begin(
        store,
        RunKey(f"hpo_{team}.local", f"night-{night}"),
        CONF | changes,
        installation(team, home),
        backend="local",
        triggered_by="ada",
        provenance=Provenance(way="manual"),
    )


def promoted(store: Store, team: str, x: float) -> Model:
    """Promote a team's model."""
    key = RunKey(f"hpo_{team}.local", "promoted")
    run = store.start_run(key, SPEC, triggered_by="ada", provenance=Provenance(), team=team)
    store.next_batch(run.id, "wave-01", lambda _: Wave((Assignment(1, {"x": x}),)))
    complete(store, run, 1, x)
    store.next_final_batch(run.id, "final", ask)
    store.finish_run(run.id, RunStatus.COMPLETE, "done")
    model = store.models.of_run(run.id)
    assert model is not None
    return store.models.promote(model, "better.")


class TeamsContract:
    """One store, whatever database is under it."""

    def test_a_name_is_each_teams_own(self, store: Store, tmp_path: Path) -> None:
        runs = [begin(store, team, tmp_path) for team in ("vision", "nlp", "")]
        assert [(run.team, run.experiment) for run in runs] == [
            ("vision", "vision.nightly"),
            ("nlp", "nlp.nightly"),
            ("", "nightly"),
        ]
        assert [run.spec.name for run in runs] == ["nightly"] * 3
        assert [slug_of(run) for run in runs] == [f"00000{n}-nightly" for n in (1, 2, 3)]
        assert attempt_uri("s3://b", runs[0], 1, 1).startswith("s3://b/vision.nightly/run-000001")
        trail = [(one.team, one.experiment) for one in store.audit.entries()]
        assert trail == [(run.team, run.experiment) for run in runs]

    def test_a_champion_is_a_teams(self, store: Store) -> None:
        mine, theirs = promoted(store, "vision", 0.25), promoted(store, "nlp", 0.5)
        assert (mine.experiment, mine.version) == ("vision.nightly", 1)
        assert (theirs.experiment, theirs.version) == ("nlp.nightly", 1)
        assert store.models.champion("vision.nightly") == mine
        assert store.models.champion("nightly") is None
        assert store.models.experiments() == ["nlp.nightly", "vision.nightly"]

    def test_a_refusal_is_the_teams_whose_dag_it_was(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(SpecError):
            begin(store, "vision", tmp_path, name="Not A Name")
        (run,) = store.runs()
        assert (run.team, run.status) == ("vision", RunStatus.REFUSED)
        assert [one.team for one in store.audit.entries()] == ["vision"]

    def test_a_team_is_advised_by_its_own_runs(self, store: Store, tmp_path: Path) -> None:
        promoted(store, "vision", 0.25)
        mine = begin(store, "vision", tmp_path, warm_start={})
        others = begin(store, "nlp", tmp_path, warm_start={})
        assert [one.experiment for one in mine.advice.runs] == ["vision.nightly"]
        assert list(others.advice.runs) == []

    def test_other_teams_advise_by_their_leave_only(self, store: Store, tmp_path: Path) -> None:
        promoted(store, "vision", 0.25)
        asked = {"warm_start": {"from": ["vision.nightly"]}}
        run = begin(store, "nlp", tmp_path, **asked)
        assert [one.experiment for one in run.advice.runs] == ["vision.nightly"]
        for team in ("audio", ""):
            with pytest.raises(SpecError, match=r"warm_start\.from: vision\.nightly is another te"):
                begin(store, team, tmp_path, **asked)
        with pytest.raises(SpecError, match=r"nobody\.nightly is another team's"):
            begin(store, "nlp", tmp_path, 2, warm_start={"from": ["nobody.nightly"]})


class TestSqlite(TeamsContract, OnSqlite):
    """A file."""


class TestPostgresql(TeamsContract, OnPostgresql):
    """A server."""


LOOK = """
import json, sys
from airflow.sdk import DAG
sys.path.insert(0, sys.argv[1] + "/dags")
import hpo_on_demand, hpo_scheduled
found = {**vars(hpo_on_demand), **vars(hpo_scheduled)}
dags = {name: dag for name, dag in found.items() if isinstance(dag, DAG)}
print(json.dumps({name: {
    "tags": sorted(tag for tag in dag.tags if tag.startswith("team:")),
    "placed": sorted({(t.pool, t.queue) for t in dag.tasks if t.task_id.endswith("trial")}),
    "access": dag.access_control and {
        role: {of: sorted(what) for of, what in may.items()}
        for role, may in dag.access_control.items()
    },
} for name, dag in dags.items()}))
"""


def dags(tmp_path: Path, config: str) -> dict[str, Any]:
    """Say which DAGs there are, each with its team and where its trials wait."""
    (tmp_path / "deployment.yaml").write_text(config)
    folder = tmp_path / "experiments"
    (folder / "vision").mkdir(parents=True, exist_ok=True)
    spec = json.dumps(CONF | {"schedule": {"cron": "0 3 * * *"}})
    (folder / "vision" / "nightly.yaml").write_text(spec)
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
        "HPO_CONFIG": str(tmp_path / "deployment.yaml"),
        "HPO_EXPERIMENTS": str(folder),
        "HPO_MAX_WAVES": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(ROOT)], env=env, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_team_has_dags_of_its_own(tmp_path: Path) -> None:
    found = dags(
        tmp_path,
        "teams: {vision: {backends: [local], pool: vision_pool, queue: gpus}, nlp: {}}",
    )
    assert found["hpo_vision.local"] == {
        "tags": ["team:vision"],
        "placed": [["vision_pool", "gpus"]],
        "access": None,
    }
    assert found["hpo_scheduled_vision.nightly"]["tags"] == ["team:vision"]
    assert found["hpo_nlp.local"]["tags"] == ["team:nlp"]
    assert found["hpo_local"]["tags"] == []
    assert found["hpo_local"]["placed"] == [["default_pool", "default"]]
    assert [name for name in found if name.startswith("hpo_vision.")] == [
        "hpo_vision.local",
        "hpo_vision.local_waves",
    ]


def test_a_team_s_roles_have_its_dags_also_those_that_are_broken(tmp_path: Path) -> None:
    (tmp_path / "experiments" / "vision").mkdir(parents=True)
    (tmp_path / "experiments" / "vision" / "torn.yaml").write_text("name: [")
    roles = "{Vision: member, Guests: viewer}"
    found = dags(tmp_path, f"teams: {{vision: {{roles: {roles}}}, nlp: {{roles: {{}}}}}}")
    access = {"Vision": {"DAGs": ["can_edit", "can_read"]}, "Guests": {"DAGs": ["can_read"]}}
    for dag in ("hpo_vision.local", "hpo_scheduled_vision.nightly", "hpo_scheduled_vision.torn"):
        assert found[dag]["access"] == access, dag
    assert (found["hpo_nlp.local"]["access"], found["hpo_local"]["access"]) == ({}, None)


@pytest.mark.parametrize("config", ["", "teams: {vision: {queu: gpus}}", "teams: ["])
def test_without_teams_or_with_a_broken_file_there_are_those_of_the_installation(
    tmp_path: Path, config: str
) -> None:
    assert not [name for name in dags(tmp_path, config) if "." in name]


@pytest.mark.parametrize("broken", ["teams: {vision: {backend: [local]}}", "teams: {vision: ["])
def test_where_the_teams_cannot_be_read_a_dag_says_so(tmp_path: Path, broken: str) -> None:
    found = dags(tmp_path, broken)
    assert {"hpo_teams", "hpo_local"} <= found.keys()
    assert not [name for name in found if "vision" in name]
