"""The wheel in an environment of its own, without a checkout: what Airflow makes of it."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.store import Store
from tests.wheel import ROOT, built, called, installed, sources, surroundings


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", sources(tmp_path_factory.mktemp("src")), tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("venv"))


def ran(python: Path, script: str, folder: Path, **said: str | Path) -> dict[str, Any]:
    """Run Python beside an Airflow whose home is the folder, and give the JSON it prints last."""
    env = surroundings(AIRFLOW_HOME=folder, **said)
    found: dict[str, Any] = json.loads(called([python, "-c", script], folder, env).splitlines()[-1])
    return found


SEEN = """
import importlib.util, json, sys
import hpo_airflow, hpo_lib
from hpo_lib.files import shipped
print(json.dumps({
    "ours": [hpo_lib.__file__, hpo_airflow.__file__, str(shipped.folder())],
    "checkout": shipped.checkout(),
    "path": sys.path,
    "finders": [str(one) for one in sys.meta_path if "editable" in str(one)],
    "tests": importlib.util.find_spec("tests") is not None,
}))
"""


def test_no_checkout_is_seen(python: Path, tmp_path: Path) -> None:
    seen = ran(python, SEEN, tmp_path)
    site = str(python.parents[1])
    assert [path.startswith(site) for path in seen["ours"]] == [True, True, True]
    assert (seen["checkout"], seen["finders"], seen["tests"]) == (None, [], False)
    assert not {str(ROOT), str(ROOT / "plugins")} & set(seen["path"])


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    for name in ("src", "sdist", "out"):
        (tmp_path / name).mkdir()
    packed = built("sdist", sources(tmp_path / "src"), tmp_path / "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = [path for path in (tmp_path / "sdist").iterdir() if path.is_dir()]
    again = built("wheel", unpacked, tmp_path / "out")
    assert contents(again) == contents(wheel)


def contents(wheel: Path) -> Mapping[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist()}


DAGS = """
import json, sys
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(conf.get("core", "dags_folder"))
print("\\n" + json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""


@pytest.fixture
def home(python: Path, tmp_path: Path) -> Path:
    """Airflow's home, with the DAG files in a subfolder of the DAGs, and nothing set up."""
    env = surroundings(AIRFLOW_HOME=tmp_path)
    words = [python.parent / "hpo", "init-airflow", "--dags", tmp_path / "dags" / "tools" / "hpo"]
    assert called(words, tmp_path, env).count("wrote ") == 3
    return tmp_path


def test_nothing_is_there_that_nobody_has_asked_for(python: Path, home: Path) -> None:
    found = ran(python, DAGS, home)
    assert found == {"errors": {}, "dags": ["hpo_housekeeping", "hpo_local", "hpo_local_waves"]}


def test_what_is_set_up_in_airflows_home_is_there(python: Path, home: Path) -> None:
    shutil.copytree(ROOT / "config" / "examples", home / "hpo" / "experiments")
    (home / "hpo" / "deployment.yaml").write_text("{docker: {}, kubernetes: {}}")
    found = ran(python, DAGS, home)
    assert found["errors"] == {}
    assert found["dags"] == [
        "hpo_docker",
        "hpo_docker_waves",
        "hpo_housekeeping",
        "hpo_kubernetes",
        "hpo_kubernetes_waves",
        "hpo_local",
        "hpo_local_waves",
        "hpo_scheduled_digits-nightly",
    ]


def test_dags_plugins_and_config_may_be_in_different_folders(python: Path, home: Path) -> None:
    for name in ("dags", "else"):
        shutil.copytree(ROOT / "dags", home / "split" / name)
    (home / "policy").mkdir()
    (home / "policy" / "deployment.yaml").write_text("docker: {}")
    shutil.copytree(ROOT / "config" / "examples", home / "nightly")
    said = {
        "AIRFLOW__CORE__DAGS_FOLDER": home / "split" / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": home / "somewhere",
        "HPO_CONFIG": home / "policy" / "deployment.yaml",
        "HPO_EXPERIMENTS": home / "nightly",
    }
    found = ran(python, DAGS, home, **said)
    assert found["errors"] == {}
    assert {"hpo_docker", "hpo_local", "hpo_scheduled_digits-nightly"} < set(found["dags"])


BUNDLE = """
import json
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag
bundle = next(b for b in DagBundlesManager().get_all_dag_bundles() if b.name == "ours")
bag = DagBag(bundle.path, bundle_path=bundle.path)
print("\\n" + json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""


def test_the_wheels_own_dag_files_are_a_bundle(python: Path, tmp_path: Path) -> None:
    ours = {"name": "ours", "classpath": "hpo_airflow.bundle.HpoDagBundle", "kwargs": {}}
    listed = {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([ours])}
    found = ran(python, BUNDLE, tmp_path, **listed)
    assert found == {"errors": {}, "dags": ["hpo_housekeeping", "hpo_local", "hpo_local_waves"]}


PLUGINS = """
import json
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
ours = [str(one.source) for one in plugins if one.name == "hpo"]
print("\\n" + json.dumps({"ours": ours, "errors": errors}))
"""


def test_the_plugin_is_there_once_also_beside_a_plugins_folder(
    python: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins")
    found = ran(python, PLUGINS, tmp_path)
    assert found["errors"] == {}
    (source,) = found["ours"]
    assert "hpo_airflow.plugin:HpoPlugin" in source


HOOK = """
import json
from airflow.models.connection import Connection
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
connection = Connection(conn_id="hpo_store", conn_type="hpo_store")
print("\\n" + json.dumps({
    "version": manager.providers["hpo-lib"].version,
    "known": manager.hooks["hpo_store"].hook_name,
    "tested": Connection.get_connection_from_secrets("hpo_store").test_connection(),
}))
"""


def test_airflow_lists_the_provider_and_tests_its_connection(python: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    said = {"AIRFLOW_CONN_HPO_STORE": json.dumps({"conn_type": "hpo_store", "schema": str(path)})}
    found = ran(python, HOOK, tmp_path, **said)
    assert (found["version"], found["known"]) == ("0.1.0", "HPO store")
    works, why = found["tested"]
    assert (works, "run `hpo store upgrade`" in why) == (False, True)
    hpo = python.parent / "hpo"
    called([hpo, "store", "upgrade", "--url", f"sqlite:///{path}"], tmp_path, surroundings())
    assert ran(python, HOOK, tmp_path, **said)["tested"] == [True, "The store is ready"]


def test_the_check_says_what_is_missing_and_mends_it(python: Path, tmp_path: Path) -> None:
    """Airflow's own database is beyond it, and so are settings, here those that come along."""
    site = python.parents[1]
    (settings,) = site.rglob("shipped/config/airflow.cfg")
    env = surroundings(
        AIRFLOW_HOME=tmp_path,
        AIRFLOW_CONFIG=settings,
        AIRFLOW__CORE__DAGS_FOLDER=tmp_path / "dags",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{tmp_path / 'airflow.db'}",
        HPO_POOL="trials",
        PATH=f"{python.parent}:/usr/bin:/bin",
    )
    assert lacking(python, tmp_path, env) == ["airflow's database", "store"]
    called([python, "-m", "airflow", "db", "migrate"], tmp_path, env)
    assert lacking(python, tmp_path, env) == ["dags", "pool", "store"]
    assert lacking(python, tmp_path, env, "--fix") == []
    assert (tmp_path / "dags" / "hpo_on_demand.py").exists()
    with Store.open(f"sqlite:///{tmp_path / 'hpo' / 'hpo.db'}"):
        pass
    assert lacking(python, tmp_path, env) == ["dags"], "as no Airflow has read them yet"
    strict = env | {"AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600"}
    assert "[scheduler] task_queued_timeout" in lacking(python, tmp_path, strict)


def lacking(python: Path, home: Path, env: Mapping[str, str], *more: str) -> list[str]:
    """Ask what is missing; the exit code says whether anything is."""
    script = "import sys; from hpo_lib.cli.main import main; print(main(sys.argv[1:]))"
    words = [python, "-c", script, "airflow", "check", *more]
    *lines, code = called(words, home, env).splitlines()
    found = [line[9:43].strip() for line in lines if line.startswith(("missing ", "wrong "))]
    assert int(code) == bool(found), lines
    return found
