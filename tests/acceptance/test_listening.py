"""Where an Airflow of `hpo up` listens: on loopback alone, also beside another one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hpo_lib.cli.embedded import COMPONENTS, Embedded
from tests.acceptance.conftest import Stack, airflow, until

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def beside(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
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
    until(lambda: beside.states(key, "wave_01.trial") == ["running"], "a running trial")
    until(lambda: "begun-here" in beside.log(key, "wave_01.trial", 0), "its first line in Airflow")
    assert beside.states(key, "wave_01.trial") == ["running"]
    go_on.touch()
    beside.complete(key)
    said = (beside.embedded.home / "logs" / "api-server.log").read_text(errors="replace")
    assert "Could not read served logs" not in said, "a traceback for every look"
