"""A real Airflow for the tests that need one: started once, killed by some, stopped at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpo_lib import engine
from hpo_lib.embedded import Embedded
from hpo_lib.errors import HpoError, NotFound
from hpo_lib.record import Run, RunKey
from hpo_lib.remote import DONE, Airflow
from hpo_lib.spec import load
from hpo_lib.store import Store
from hpo_lib.trial import History, Trial, TrialState

ROOT = Path(__file__).resolve().parents[2]
DAG = "hpo_local"
PATIENCE_S = 300.0

_CLIENTS: dict[str, Airflow] = {}

#: A crash is noticed sooner than a deployment would want it.
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "HPO_MAX_WAVES": "6",
}
#: Of these variables the tests' own are passed on.
_PASSED_ON = ("HPO_CONFIG", "HPO_DATA")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a state and give it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


@dataclass(frozen=True)
class Stack:
    """Airflow, its store, and the questions that tests ask."""

    embedded: Embedded
    store: Store

    def client(self) -> Airflow:
        """Give a client that stays logged in."""
        client = self.embedded.client()
        return _CLIENTS.setdefault(client.url, client)

    def trigger(self, conf: Any) -> RunKey:
        """Start a DAG run."""
        return RunKey(DAG, self.client().trigger(DAG, conf))

    def wait(self, key: RunKey) -> str:
        """Wait for the DAG run's end and give its state."""
        return str(until(lambda: self._ended(key), f"the end of {key.dag_run_id}"))

    def run(self, key: RunKey) -> Run:
        """Give our run."""
        return self.store.run(key)

    def find(self, key: RunKey) -> Run | None:
        """Give our run if it has begun."""
        try:
            return self.store.run(key)
        except NotFound:
            return None

    def tasks(self, key: RunKey) -> list[dict[str, Any]]:
        """List the DAG run's task instances."""
        path = f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}/taskInstances?limit=200"
        return list(self.client().call("GET", path)["task_instances"])

    def states(self, key: RunKey, task_id: str) -> list[str]:
        """List the states of a task's instances."""
        return sorted(str(t["state"]) for t in self.tasks(key) if t["task_id"] == task_id)

    def clear(self, key: RunKey, *task_ids: str) -> None:
        """Clear tasks of a DAG run, as a click in the UI does."""
        body = {
            "dry_run": False,
            "dag_run_id": key.dag_run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.client().call("POST", f"/dags/{key.dag_id}/clearTaskInstances", body)

    def log(self, key: RunKey, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """Give a task's log as text."""
        path = (
            f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}/taskInstances/{task_id}"
            f"/logs/{try_number}?map_index={map_index}&full_content=true"
        )
        return str(self.client().call("GET", path))

    def mark(self, key: RunKey, state: str) -> None:
        """Set the state of a DAG run, as the UI does."""
        self.client().call("PATCH", _path(key), {"state": state})

    def delete(self, key: RunKey) -> None:
        """Delete a DAG run; HpoError if Airflow refuses."""
        self.client().call("DELETE", _path(key))

    def deleted(self, key: RunKey, state: str) -> bool:
        """Delete a DAG run at once after its state was set; no if Airflow was quicker to run it."""
        self.mark(key, state)
        try:
            self.delete(key)
        except HpoError:
            return False
        return True

    def sweep(self) -> None:
        """Have housekeeping done."""
        key = RunKey("hpo_housekeeping", self.client().trigger("hpo_housekeeping", {}))
        assert self.wait(key) == "success"

    def _ended(self, key: RunKey) -> str | None:
        try:
            state = self.client().state(key.dag_id, key.dag_run_id)
        except HpoError:
            return None
        return state if state in DONE else None


def _path(key: RunKey) -> str:
    return f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}"


def undisturbed(conf: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Give the trials that the spec and its seed lead to when nothing goes wrong."""
    spec = load(conf)
    trials: list[Trial] = []
    while True:
        step = engine.step(spec, History(trials), spec.limits.parallel_trials)
        if step.stop:
            return {trial.number: dict(trial.params) for trial in trials}
        trials += [
            Trial(a.trial, a.params, TrialState.COMPLETE, value=float(a.params["x"]))
            for a in step.assignments
        ]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running Airflow with a store of its own."""
    home = tmp_path_factory.mktemp("airflow")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    embedded = Embedded(ROOT, home, SETTINGS | inherited)
    try:
        embedded.up(lambda line: sys.stderr.write(f"{line}\n"))
        with Store.open(embedded.store_url) as store:
            yield Stack(embedded, store)
    finally:
        embedded.down()


@pytest.fixture
def up(stack: Stack) -> Stack:
    """The same, brought up again if the test before has killed it."""
    stack.embedded.up(lambda _: None)
    return stack


def attempt_processes(home: Path) -> list[psutil.Process]:
    """List the processes of attempts (guards included) below a home."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("HPO_ATTEMPT_DIR", "").startswith(str(home))
            guard = any(word.startswith(str(home / "hpo")) for word in process.cmdline())
            if (marked or guard) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def instance(stack: Stack, key: RunKey, trial: int) -> dict[str, Any]:
    """Give the running task instance of a trial."""
    return next(
        task
        for task in stack.tasks(key)
        if task["state"] == "running" and (task["rendered_map_index"] or "").startswith(f"{trial}:")
    )


def kill_task(stack: Stack, key: RunKey, trial: int) -> None:
    """Kill the process of a trial's Airflow task, not its supervisor."""
    wanted = instance(stack, key, trial)["id"]
    processes = [p for p in psutil.process_iter() if wanted in " ".join(cmdline(p))]
    children = [p for p in processes if p.ppid() in {one.pid for one in processes}]
    os.kill((children or processes)[-1].pid, signal.SIGKILL)


def cmdline(process: psutil.Process) -> list[str]:
    """Give a process's command line, nothing if it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
