"""What an Airflow of `hpo up` shows to others: a port on loopback, and none of its files."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hpo_lib.cli.embedded import COMPONENTS, Embedded
from hpo_lib.errors import TransientError
from hpo_lib.records import RunKey
from tests.acceptance.conftest import Stack, airflow, until

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A second Airflow on this machine."""
    with airflow(tmp_path_factory.mktemp("beside"), {}, {}) as started:
        yield started


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
    ours = (path for path in home.rglob("*") if path != home / "deployment.yaml")
    found = [path for path in ours if not path.is_symlink()]
    names = {path.name for path in found}
    assert names >= {"airflow.db", "hpo.db", "api-server.log", "report.html", "log.txt", "b"}
    assert [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
