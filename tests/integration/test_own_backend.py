"""A backend from a folder of its own and one row: its contract, its DAG, and what breaks alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo_lib import registry
from hpo_lib.backends import Request
from hpo_lib.core.ending import Ending
from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment, built, installation_of
from hpo_lib.spec import load
from tests.integration.backend_contract import LABELS, BackendContract, LocalVanishing

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "own_backend"
NICE, GONE = "nice=acme_nice:NiceBackend", "gone=acme_gone:GoneBackend"
SPEC: dict[str, Any] = {
    "name": "own",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"backend": "nice", "command": ["true"]},
}


@pytest.fixture
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator does who adds a backend."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("HPO_BACKENDS", NICE)


@pytest.fixture
def site(tmp_path: Path, _added: None) -> Environment:
    config = tmp_path / "deployment.yaml"
    config.write_text("nice: {level: 7}\nlocal: {environment: [WANDB_MODE]}")
    said = {"HPO_CONFIG": str(config), "HPO_HOME": str(tmp_path / "home")}
    return Environment(tmp_path, variables=said)


class TestNiceBackend(LocalVanishing, BackendContract):
    """The contract, for a backend that is built of its row."""

    no_program = Ending.EXITED

    @pytest.fixture
    def backend(self, site: Environment) -> Any:
        return built("nice", site)

    def request(self, script: str, **changes: Any) -> Request:
        known = {"env": {"HPO_TRIAL": "1"}, "timeout_s": 120.0, "labels": LABELS}
        return Request(**({"command": ["sh", "-c", script]} | known | changes))

    def test_it_takes_its_rules_from_its_own_section(self, backend: Any, handle: Any) -> None:
        assert backend.level == 7
        assert backend.rules.environment == ("WANDB_MODE",), "those of all local trials hold too"
        backend.submit(handle, self.request("nice"))
        self.end(backend, handle)
        assert backend.log(handle).read_text() == f"{min(19, os.nice(0) + 7)}\n"


def test_a_row_is_all_that_a_spec_and_an_installation_need(site: Environment) -> None:
    spec = load(SPEC)
    assert type(installation_of(site).backend(spec)).__name__ == "NiceBackend"
    with pytest.raises(SpecError, match=r"reuse\.data\.0: must be a URI with backend nice"):
        load(SPEC | {"reuse": {"data": ["here"]}})


def test_without_its_row_it_is_unknown() -> None:
    with pytest.raises(SpecError, match=r"unknown backend 'nice'; known: docker, ecs, job"):
        load(SPEC)


def test_what_cannot_be_loaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_BACKENDS", GONE)
    with pytest.raises(SpecError, match="backend 'gone' cannot be loaded: No module named 'acme_g"):
        registry.load("backend", "gone")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acme_nice:NiceBackend", "must be name=package.module:Class, got 'acme_nice:NiceBackend'"),
        ("nice=acme_nice", "must be name=package.module:Class, got 'nice=acme_nice'"),
        ("../x=acme:B", "must be name=package.module:Class, got '../x=acme:B'"),
        ("local_waves=acme:B", "hpo_local_waves is the name of another DAG, got 'local_"),
        ("housekeeping=acme:B", "hpo_housekeeping is the name of another DAG"),
        ("scheduled_a=acme:B", "hpo_scheduled_a is the name of another DAG"),
        ("local=acme:Backend", "backend local is there already, got 'local=acme:Backend'"),
    ],
)
def test_a_row_that_is_wrong_is_refused(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_BACKENDS", f"fine=acme:Backend, {text}")
    with pytest.raises(SpecError, match=f"^HPO_BACKENDS: {words.replace('.', '[.]')}"):
        registry.backends()


LOOK = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/dags")
from hpo_lib.registry import BACKENDS, BackendRow
BACKENDS["absent"] = BackendRow("hpo_lib.backends.absent:AbsentBackend")
BACKENDS["unrun"] = BackendRow("acme_nice:NiceBackend", operator="hpo_airflow.operators.absent:O")
BACKENDS["formless"] = BackendRow("acme_nice:NiceBackend", example="absent.yaml")
BACKENDS["uninstalled"] = BackendRow("acme_nice:NiceBackend", needs="acme_absent.part")
import hpo_on_demand
from airflow.serialization.serialized_objects import DagSerialization
dags = {name: dag for name, dag in vars(hpo_on_demand).items() if name.startswith("hpo_")}
print(json.dumps({name: {
    "id": dag.dag_id,
    "tasks": sorted(dag.task_ids),
    "tags": sorted(DagSerialization.to_dict(dag)["dag"]["tags"]),
    "description": dag.description,
    "doc": dag.doc_md,
    "form": dag.params["trial"]["backend"] if "trial" in dag.params else None,
} for name, dag in dags.items()}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow sees in the DAG file where rows were added, most of them wrong."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in (ROOT, ROOT / "plugins", FOLDER)),
        "HPO_BACKENDS": f"{NICE}, {GONE}",
        "HPO_MAX_WAVES": "2",
    }
    command = [sys.executable, "-c", LOOK, str(ROOT)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


BROKEN = {
    "absent": "ModuleNotFoundError: No module named 'hpo_lib.backends.absent'",
    "formless": "FileNotFoundError",
    "gone": "SpecError: backend 'gone' cannot be loaded: No module named 'acme_gone'",
    "unrun": "ModuleNotFoundError: No module named 'hpo_airflow.operators.absent'",
}


def test_a_row_has_a_dag(parsed: dict[str, Any]) -> None:
    nice = parsed["hpo_nice"]
    assert (nice["id"], nice["tags"], nice["form"]) == ("hpo_nice", ["hpo", "nice"], "nice")
    assert {"validate", "slot", "gate", "report"} <= set(nice["tasks"])
    assert {"validate", "wave_02.trial", "report"} <= set(parsed["hpo_nice_waves"]["tasks"])


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_imported_breaks_its_own_dag_visibly(
    name: str, parsed: dict[str, Any]
) -> None:
    dag = parsed[f"hpo_{name}"]
    assert (dag["tags"], dag["tasks"]) == (["broken", "hpo"], ["report", "validate"])
    assert dag["description"].startswith(f"broken: backend {name}: {BROKEN[name]}")
    assert f"**Backend `{name}` is broken**" in dag["doc"]
    assert BROKEN[name] in dag["doc"]


def test_it_breaks_no_other(parsed: dict[str, Any]) -> None:
    sound = {name for name, dag in parsed.items() if "broken" not in dag["tags"]}
    assert {"hpo_local", "hpo_nice"} <= sound
    broken = {f"hpo_{name}{shape}" for name in BROKEN for shape in ("", "_waves")}
    assert set(parsed) - sound == broken


def test_what_is_not_installed_has_no_dag(parsed: dict[str, Any]) -> None:
    assert "hpo_uninstalled" not in parsed
