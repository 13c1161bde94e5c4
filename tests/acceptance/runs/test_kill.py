"""kill -9 of anything at any moment: the run ends with exactly the trials it would have had.

Each test disturbs a real run on a real Airflow and then compares it with what its spec and seed
give undisturbed, and with the ledger in which every attempt writes that it began and ended.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpo_lib.backends import local_guard
from hpo_lib.cli.airflow_api import DONE
from hpo_lib.records import RunKey
from tests.acceptance.conftest import (
    DAG,
    WAVES,
    Stack,
    attempt_processes,
    cmdline,
    undisturbed,
    until,
)

if TYPE_CHECKING:
    import psutil

pytestmark = pytest.mark.airflow

#: The title of a process that runs a task; each try has a number of its own.
TASK = re.compile(r"airflow worker -- [0-9a-f]{8}-")


def conf(ledger: Path, *, seconds: float, trials: int = 4, parallel: int = 2) -> dict[str, Any]:
    """Describe an experiment whose objective is one of its parameters."""
    script = f"""
echo "begin $HPO_TRIAL $HPO_ATTEMPT" >> {ledger}
sleep {seconds}
echo "end $HPO_TRIAL $HPO_ATTEMPT" >> {ledger}
echo loss=$1
"""
    return {
        "name": "kill",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {
            "x": {"type": "float", "low": 0.0, "high": 1.0},
            "k": {"type": "int", "low": 1, "high": 8},
        },
        "sampler": {"name": "bayesian", "seed": 7, "initial": 2},
        "limits": {"max_trials": trials, "parallel_trials": parallel},
        "trial": {"command": ["sh", "-c", script, "trial"], "args": ["${params.x}"]},
    }


def begun(ledger: Path, count: int) -> bool:
    """Say whether so many attempts have begun."""
    return ledger.exists() and ledger.read_text().count("begin") >= count


def check(stack: Stack, key: RunKey, conf: dict[str, Any], ledger: Path) -> None:
    """Compare the ended run with the undisturbed one and with the ledger."""
    view = stack.complete(key)
    expected = undisturbed(conf)
    assert {v.trial.number: dict(v.trial.params) for v in view.trials} == expected
    assert {v.trial.number: v.trial.value for v in view.trials} == {
        number: params["x"] for number, params in expected.items()
    }
    ended = Counter(int(line.split()[1]) for line in lines(ledger) if line.startswith("end"))
    assert ended == dict.fromkeys(expected, 1), "each trial was run to its end exactly once"
    assert len(lines(ledger)) == len(set(lines(ledger))), "no attempt was run twice"
    assert attempt_processes(stack.embedded.home) == []


def lines(ledger: Path) -> list[str]:
    """Read the ledger."""
    return ledger.read_text().splitlines()


def guards(stack: Stack) -> list[psutil.Process]:
    """List the guards of running attempts, without their keepers."""
    return [
        process
        for process in attempt_processes(stack.embedded.home)
        if process.name() == local_guard.GUARD
    ]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where attempts write that they began and ended."""
    return tmp_path / "ledger"


def test_kill_of_a_trials_airflow_task(up: Stack, ledger: Path) -> None:
    spec = conf(ledger, seconds=6)
    key = up.trigger(spec, WAVES)
    until(lambda: begun(ledger, 2), "two attempts")
    starter = guards(up)[0].parent().parent()
    assert any(word.endswith("local_starter.py") for word in starter.cmdline())
    task = starter.parent()
    assert "airflow" in task.name()
    os.kill(task.pid, signal.SIGKILL)
    check(up, key, spec, ledger)
    attempts = [a for v in up.store.view(up.run(key).id).trials for a in v.attempts]
    assert len(attempts) == 4, "the running attempt was taken over, not repeated"


def test_kill_of_a_trials_airflow_task_and_its_supervisor(up: Stack, ledger: Path) -> None:
    spec = conf(ledger, seconds=6)
    key = up.trigger(spec)
    until(lambda: begun(ledger, 2), "two attempts")
    task = guards(up)[0].parent().parent()
    for process in (task.parent(), task):
        os.kill(process.pid, signal.SIGKILL)
    check(up, key, spec, ledger)


def test_kill_of_the_trials_own_process(up: Stack, ledger: Path) -> None:
    spec = conf(ledger, seconds=3)
    key = up.trigger(spec)
    until(lambda: begun(ledger, 2), "two attempts")
    victim = guards(up)[0].children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    check(up, key, spec, ledger)
    attempts = [a for v in up.store.view(up.run(key).id).trials for a in v.attempts]
    assert len(attempts) == 5
    assert "signal 9" in next(a.reason for a in attempts if a.cause)


def test_kill_of_the_trials_guard(up: Stack, ledger: Path) -> None:
    spec = conf(ledger, seconds=3)
    key = up.trigger(spec)
    until(lambda: begun(ledger, 2), "two attempts")
    os.kill(guards(up)[0].pid, signal.SIGKILL)
    check(up, key, spec, ledger)


def test_kill_of_every_other_task_process(up: Stack, ledger: Path) -> None:
    spec = conf(ledger, seconds=1)
    key = up.trigger(spec)
    seen: list[str] = []
    killed: list[str] = []

    def kill_every_other() -> bool:
        for process in up.embedded.processes():
            title = " ".join(cmdline(process))
            if TASK.match(title) and title not in seen:
                seen.append(title)
                if len(seen) % 2:
                    process.kill()
                    killed.append(title)
        return up.client().state(key.dag_id, key.dag_run_id) in DONE

    until(kill_every_other, "the end of the run", pause_s=0.2)
    # A look that comes late misses short tasks, so this counts what was done, not what there was.
    assert len(killed) >= 3, "tasks were killed"
    check(up, key, spec, ledger)


def test_kill_of_the_whole_airflow(up: Stack, ledger: Path) -> None:
    """At any moment, and with a task for each trial, the chaos suite kills it."""
    spec = conf(ledger, seconds=4)
    key = up.trigger(spec, DAG)
    until(lambda: begun(ledger, 2), "two attempts")
    up.embedded.kill()
    up.embedded.up(lambda _: None)
    check(up, key, spec, ledger)
