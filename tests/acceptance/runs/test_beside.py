"""The Airflow that `hpo run` starts for a script that knows nothing of this project.

What it does with the script, and what it shows to others beside another Airflow: a port on
loopback, and none of its files.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from hpo_lib.cli.embedded import COMPONENTS, Embedded
from hpo_lib.core.trial import TrialState
from hpo_lib.errors import TransientError
from hpo_lib.records import RunKey
from hpo_lib.store import Store
from tests.acceptance.conftest import PATIENCE_S, Stack, checkout_in, until

pytestmark = pytest.mark.airflow

SCRIPT = """\
import argparse
import pathlib

asked = argparse.ArgumentParser()
asked.add_argument("--learning-rate", type=float, required=True)
asked.add_argument("--optimizer", choices=["adam", "sgd"], required=True)
given = asked.parse_args()
offset = float(pathlib.Path("data.txt").read_text())
print(f"val_accuracy: {offset - given.learning_rate:.4f}")
"""


def hpo(checkout: Path, folder: Path, *words: str) -> tuple[int, str]:
    """Run a command in a folder, and give its exit code and what it printed."""
    env = {name: one for name, one in os.environ.items() if name not in ("VIRTUAL_ENV", "HPO_HOME")}
    done = subprocess.run(
        [sys.executable, "-u", "-m", "hpo_lib.cli", *words],
        cwd=folder,
        env={**env, "HPO_ROOT": str(checkout)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=3 * PATIENCE_S,
    )
    return done.returncode, done.stdout


@dataclass(frozen=True)
class Tuned:
    """A folder with a script that was tuned, what was said, and the Airflow that came up for it."""

    folder: Path
    said: str
    stack: Stack


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    """From the script to its end in two commands."""
    checkout = checkout_in(tmp_path_factory.mktemp("checkout"))
    folder = tmp_path_factory.mktemp("elsewhere") / "my project"
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    (folder / "data.txt").write_text("0.9")
    words = "train.py --metric val_accuracy --maximize --trials 8 learning_rate=1e-3..1e-1:log"
    python = ["--python", sys.executable]
    code, said = hpo(checkout, folder, "init", *words.split(), "optimizer", *python)
    assert code == 0, said
    embedded = Embedded(checkout, checkout / ".airflow", {})
    try:
        code, said = hpo(checkout, folder, "run", "train.yaml")
        assert code == 0, said
        with Store.open(embedded.store_url) as store:
            yield Tuned(folder, said, Stack(embedded, store))
    finally:
        hpo(checkout, folder, "down")
    assert not embedded.running()


@pytest.fixture
def beside(tuned: Tuned) -> Stack:
    """That Airflow."""
    return tuned.stack


def test_a_script_elsewhere_is_tuned_unchanged_without_an_airflow_that_is_up(tuned: Tuned) -> None:
    said = tuned.said
    assert "no Airflow runs here: starting one" in said
    assert "Airflow is coming up: " in said
    assert "8/8 trials done" in said
    assert "it stays up for the next run; hpo down stops it" in said
    assert tuned.stack.lives()
    run = tuned.stack.run(RunKey("hpo_local", said.partition("/runs/")[2].split()[0]))
    trials = tuned.stack.store.view(run.id).trials
    assert run.spec.trial.dir == str(tuned.folder)
    assert [one.trial.state for one in trials] == [TrialState.COMPLETE] * 8


def listening(embedded: Embedded) -> set[tuple[str, int]]:
    """Give the addresses and ports on which processes of an Airflow take connections."""
    found = set()
    for process in embedded.processes():
        try:
            sockets = process.net_connections(kind="inet")
        except psutil.Error:
            continue
        bound = (one for one in sockets if one.status in (psutil.CONN_LISTEN, psutil.CONN_NONE))
        found |= {(one.laddr.ip, one.laddr.port) for one in bound if one.laddr}
    return found


def test_two_airflows_listen_on_loopback_and_on_ports_of_their_own(
    up: Stack, beside: Stack
) -> None:
    until(up.lives, "the first Airflow")
    both = [listening(one.embedded) for one in (up, beside)]
    for found, stack in zip(both, (up, beside), strict=True):
        outside = {one for one in found if not ipaddress.ip_address(one[0]).is_loopback}
        assert outside == set()
        assert {port for _, port in found} == {int(stack.client().url.rpartition(":")[2])}
    assert {port for _, port in both[0]} & {port for _, port in both[1]} == set()
    assert up.lives()
    assert beside.lives()


def test_no_component_has_found_its_port_taken(up: Stack, beside: Stack) -> None:
    for stack in (up, beside):
        for component in COMPONENTS:
            log = stack.embedded.home / "logs" / f"{component}.log"
            assert "address already in use" not in log.read_text(errors="replace").lower()


def begun_here(stack: Stack, key: RunKey) -> bool:
    """Say whether the log of the trial that runs has its line; a busy Airflow is asked again."""
    with suppress(TransientError):
        running = stack.states(key, "slot") == ["running"]
        return running and "begun-here" in stack.log(key, "slot", 0)
    return False


def test_the_log_of_a_task_is_read_while_it_runs(beside: Stack, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    script = f'echo begun-here; until test -e {go_on}; do sleep 0.2; done; echo "loss=$1"'
    spec = {
        "name": "running",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "limits": {"max_trials": 1, "parallel_trials": 1},
        "trial": {"command": ["sh", "-c", script, "trial"], "args": ["${params.x}"]},
    }
    key = beside.trigger(spec)
    until(lambda: begun_here(beside, key), "the first line of a trial that runs until it may go on")
    go_on.touch()
    beside.complete(key)
    said = (beside.embedded.home / "logs" / "api-server.log").read_text(errors="replace")
    assert "Could not read served logs" in said
    assert "ConnectionRefusedError" not in said, "a traceback for every look"


def test_whatever_it_writes_is_for_its_owner(beside: Stack) -> None:
    """Databases, logs, reports, and what trials leave; the test itself has made the rest."""
    spec = {
        "name": "modes",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "limits": {"max_trials": 1, "parallel_trials": 1},
        "trial": {
            "command": ["sh", "-c", "mkdir $HPO_OUTPUT/a; echo b > $HPO_OUTPUT/a/b; echo loss=1"]
        },
    }
    beside.complete(beside.trigger(spec))
    home = beside.embedded.home
    found = [path for path in home.rglob("*") if not path.is_symlink()]
    names = {path.name for path in found}
    assert names >= {"airflow.db", "hpo.db", "api-server.log", "report.html", "log.txt", "b"}
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
