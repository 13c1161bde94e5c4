"""Ended runs are exported to where the installation says; nothing fails of that."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import DownstreamTasksSkipped

from hpo_airflow import final_tasks, tasks
from hpo_lib.housekeeping import sweep
from hpo_lib.installation import Environment, Installation
from hpo_lib.records import RunStatus
from hpo_lib.runs import exports
from hpo_lib.store import Store, upgrade
from tests.integration.loop import Loop
from tests.integration.models_contract import searched
from tests.integration.test_tasks import context

ROOT = Path(__file__).parents[2]
PROGRAM = "import json, os; print('loss=%s' % json.loads(os.environ['HPO_PARAMS'])['x'])"
CONF: dict[str, Any] = {
    "name": "small",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "limits": {"max_trials": 2, "parallel_trials": 2},
    "trial": {"command": [sys.executable, "-c", PROGRAM], "timeout": "1m"},
}
SECRET = "hush-5707e"
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def talkative(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that the tasks find by their environment, as they do the operator's file."""
    url = f"sqlite:///{tmp_path}/hpo.db"
    upgrade(url)
    places = {"HPO_HOME": tmp_path, "HPO_CONFIG": tmp_path / "deployment.yaml", "HPO_STORE": url}
    for name, value in places.items():
        monkeypatch.setenv(name, str(value))
    with Store.open(url) as opened:
        yield opened


def say(folder: Path, targets: Mapping[str, str | None], **more: Any) -> None:
    """Write the operator's file."""
    (folder / "deployment.yaml").write_text(yaml.safe_dump({"exports": dict(targets), **more}))


def tuned(store: Store, home: Path) -> dict[str, Any]:
    """Do a run's trials, and give the context of its last task."""
    given = context(CONF)
    with pytest.raises(DownstreamTasksSkipped):
        tasks.validate(given, "local")
    Loop(store, home).waves(store.run(tasks.key_of(given)))
    return given


def studies(file: Path) -> dict[str, int]:
    """Give how many trials each study of a journal has."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(file)))
    return {
        one.study_name: len(storage.get_all_trials(one._study_id))
        for one in storage.get_all_studies()
    }


def test_a_run_that_ends_is_at_every_target_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal, boards = tmp_path / "journal", tmp_path / "boards"
    say(tmp_path, {"optuna": str(journal), "tensorboard": str(boards), "mlflow": None})
    given = tuned(store, tmp_path)
    for _ in range(2):  # A task that was cleared, or killed when all was done, is done again.
        assert tasks.report(given)["status"] == "complete"
        assert studies(journal) == {"small/run-1": 2}
        assert len(list(boards.glob("*/trial-*/events*"))) == 2
    assert f"run 1: export tensorboard: {boards}/000001-small" in caplog.text
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_a_target_that_fails_costs_neither_the_run_nor_the_other_targets(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    say(tmp_path, {"mlflow": NOWHERE, "optuna": str(tmp_path / "journal")})
    given = tuned(store, tmp_path)
    assert tasks.report(given)["status"] == "complete"
    assert store.run_by_id(1).status is RunStatus.COMPLETE
    assert studies(tmp_path / "journal") == {"small/run-1": 2}
    (said,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert said.startswith("run 1: export mlflow: mlflow: cannot be reached: ")
    assert said.endswith(f"(again: hpo export 1 --to mlflow -o {NOWHERE})")
    assert SECRET not in caplog.text


def test_a_file_that_has_become_wrong_costs_nothing_either(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = tuned(store, tmp_path)
    say(tmp_path, {"optuna": "journal"})
    assert tasks.report(given)["status"] == "complete"
    assert "cannot be exported: config/deployment.yaml: exports.optuna: must be" in caplog.text


def test_what_was_deployed_is_exported_with_its_last_report(store: Store, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    say(tmp_path, {"tensorboard": str(boards)})
    given = context(CONF | {"final": {}, "deploy": {"to": "package"}})
    tasks.validate(given, "local")
    Loop(store, tmp_path).waves(store.run(tasks.key_of(given)))
    assert final_tasks._deploy(given) == {"champion": None}
    assert len(list(boards.glob("*/trial-*/events*"))) == 2


def test_a_run_that_housekeeping_ends_is_exported_too(store: Store, tmp_path: Path) -> None:
    loop = Loop(store, tmp_path)
    targets = {"optuna": str(tmp_path / "journal")}
    installation = replace(loop.installation, exports=lambda: targets)
    ended, going = searched(store, 1), searched(store, 2)
    said = list(sweep(store, installation, lambda key: key == ended.key))
    assert said[0].startswith(f"run {ended.id}: failed, its DAG run is over")
    assert studies(tmp_path / "journal") == {f"nightly/run-{ended.id}": 1}
    assert store.run_by_id(going.id).status is RunStatus.RUNNING


def test_what_breaks_inside_is_told_with_its_place(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    run = searched(store, 1)
    exports.bring(store, run, at(tmp_path, {"tensorboard": str(tmp_path / "file" / "below")}))
    assert "export tensorboard: Traceback" in caplog.text
    assert "NotADirectoryError" in caplog.text


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """Give what accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def at(home: Path, targets: Mapping[str, str]) -> Installation:
    return Installation(home, {}, exports=lambda: targets)


def address(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_holds_nobody_up(
    store: Store, tmp_path: Path, mute: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    run = searched(store, 1)
    began = time.monotonic()
    targets = {"mlflow": address(mute), "optuna": str(tmp_path / "journal")}
    exports.bring(store, run, at(tmp_path, targets), patience_s=40)
    assert time.monotonic() - began < 60
    assert "export mlflow: it was not done after 20 s" in caplog.text
    assert studies(tmp_path / "journal") == {"nightly/run-1": 1}, "others have their share of time"


BRING = """
import json, sys
from pathlib import Path
from hpo_lib.installation import Installation
from hpo_lib.runs import exports
from hpo_lib.store import Store
home, url, targets = sys.argv[1:]
with Store.open(url) as store:
    installation = Installation(Path(home), {}, exports=lambda: json.loads(targets))
    exports.bring(store, store.run_by_id(1), installation)
"""


def test_what_is_killed_leaves_no_process_and_is_done_again(
    store: Store, tmp_path: Path, mute: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    run = searched(store, 1)
    journal = str(tmp_path / "journal")
    targets = {"optuna": journal, "mlflow": address(mute)}
    words = [sys.executable, "-c", BRING, str(tmp_path), store.address, json.dumps(targets)]
    with subprocess.Popen(words, cwd=ROOT) as task:
        asking, _ = mute.accept()
        exports.bring(store, run, at(tmp_path, {"optuna": journal}))
        assert "run 1 is being exported by another process" in caplog.text
        task.send_signal(signal.SIGKILL)
    with asking:
        asking.settimeout(60)
        while asking.recv(65_536):
            """Read what it has asked, until the kernel closes what nobody holds any more."""
    caplog.clear()
    exports.bring(store, run, at(tmp_path, {"optuna": journal}))
    assert "run 1: export optuna: study nightly/run-1" in caplog.text
    assert studies(Path(journal)) == {"nightly/run-1": 1}


def test_a_secret_stays_out_of_the_log_whatever_a_library_says() -> None:
    held = {"MLFLOW_TRACKING_TOKEN": f"{SECRET}\n", "WANDB_API_KEY": "", "HOME": "/root"}
    said = f"Illegal header value b'Bearer {SECRET}\\n' at http://ada:{SECRET}@host/x in /root"
    assert exports.masked(said, held) == (
        "Illegal header value b'Bearer …\\n' at http://…@host/x in /root"
    )
    assert exports.masked("postgresql://ada:pw@host/x", {}) == "postgresql://…@host/x"


def test_a_team_may_have_targets_of_its_own_or_none(tmp_path: Path) -> None:
    own = {"exports": {"tensorboard": None, "optuna": "/shared/vision"}}
    say(tmp_path, {"tensorboard": "/shared/boards"}, teams={"vision": own, "sound": {}})
    said = {"HPO_CONFIG": str(tmp_path / "deployment.yaml")}
    found = {
        team: Environment(tmp_path, variables=said, team=team).exports
        for team in ("", "vision", "sound")
    }
    assert found == {
        "": {"tensorboard": "/shared/boards"},
        "vision": {"optuna": "/shared/vision"},
        "sound": {"tensorboard": "/shared/boards"},
    }
