"""A real Airflow for the tests that need one: started once, killed by some, stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.cli.embedded import Embedded
from hpo_lib.core.trial import Cause, History, Trial, TrialState
from hpo_lib.errors import HpoError, NotFound, TransientError
from hpo_lib.records import Run, RunKey, RunStatus, RunView
from hpo_lib.runs.slots import number_of
from hpo_lib.search import engine
from hpo_lib.spec import load
from hpo_lib.store import Store
from tests.leftovers import leftovers

ROOT = Path(__file__).resolve().parents[2]
#: Runs a search in slots, and with a task for each trial.
DAG, WAVES = "hpo_local", "hpo_local_waves"
PATIENCE_S = 600.0
_HOUSEKEEPING = "hpo_housekeeping"

_CLIENTS: dict[str, Airflow] = {}

#: A crash is noticed sooner than an installation would want it, and DAG files do not change.
SETTINGS = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "HPO_MAX_WAVES": "6",
    "HPO_DEPLOYERS": "tests.acceptance.held",  # a deployer that waits to be killed
    "HPO_SCHEDULERS": "tests.halves",  # one that promotes the better half
}
#: What a conf may ask for beyond what is so everywhere, unless HPO_CONFIG names another file.
DEPLOYMENT = {
    "docker": {},
    "ecs": {"launch_types": ["EC2"], "images": ["*"]},
    "job": {},
    "kubernetes": {"images": ["*"]},
    "mlflow": {"connection": "mlflow"},
}
#: Of these variables the tests' own are passed on.
_PASSED_ON = ("HPO_CONFIG", "HPO_DATA")


def until(condition: Callable[[], Any], what: str, pause_s: float = 0.5) -> Any:
    """Wait for a state and give it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause_s)
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

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call Airflow's API; again, as people do, where its SQLite was locked for five seconds."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.client().call(method, path, body)
            except TransientError:
                if time.monotonic() > end:
                    raise
            time.sleep(1)

    def trigger(self, conf: Any, dag: str = DAG) -> RunKey:
        """Start a DAG run."""
        return RunKey(dag, self.client().trigger(dag, conf))

    def wait(self, key: RunKey) -> str:
        """Wait for the DAG run's end and give its state; each look is a request that costs CPU."""
        return str(until(lambda: self._ended(key), f"the end of {key.dag_run_id}", pause_s=0.7))

    def complete(self, key: RunKey) -> RunView:
        """Wait for the DAG run's end and give our run, both of which are to be a success."""
        assert self.wait(key) == "success"
        run = self.run(key)
        assert run.status is RunStatus.COMPLETE, run.reason
        return self.store.view(run.id)

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
        found = self.ask("GET", f"{_path(key)}/taskInstances?limit=200")
        return list(found["task_instances"])

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
        self.ask("POST", f"/dags/{key.dag_id}/clearTaskInstances", body)

    def mark_trial_failed(self, key: RunKey, trial: int) -> None:
        """Mark the running task of a trial as failed, as a click in the UI does."""
        task = instance(self, key, trial)
        path = f"{_path(key)}/taskInstances/{task['task_id']}/{task['map_index']}"
        self.ask("PATCH", path, {"new_state": "failed"})

    def log(self, key: RunKey, task_id: str, map_index: int = -1) -> str:
        """Give the log of a task's last try as text: a dying scheduler may cause a second."""
        (number,) = (
            one["try_number"]
            for one in self.tasks(key)
            if (one["task_id"], one["map_index"]) == (task_id, map_index)
        )
        where = f"logs/{number}?map_index={map_index}&full_content=true"
        return str(self.ask("GET", f"{_path(key)}/taskInstances/{task_id}/{where}"))

    def logs(self, key: RunKey, task_id: str) -> list[str]:
        """Give the logs of a mapped task's instances."""
        return [self.log(key, task_id, index) for index, _ in enumerate(self.states(key, task_id))]

    def mark(self, key: RunKey, state: str) -> None:
        """Set the state of a DAG run, as the UI does."""
        self.ask("PATCH", _path(key), {"state": state})

    def pause(self, dag: str, paused: bool) -> None:
        """Pause a DAG, or let it go on."""
        self.ask("PATCH", f"/dags/{dag}", {"is_paused": paused})

    def delete(self, key: RunKey) -> None:
        """Delete a DAG run; HpoError if Airflow refuses."""
        self.client().call("DELETE", _path(key))

    def deleted(self, key: RunKey, state: str) -> bool:
        """Delete a DAG run at once after its state was set; no if Airflow was quicker to run it."""
        self.mark(key, state)
        try:
            self.delete(key)
        except TransientError:
            return self._is_gone(key)
        except HpoError:
            return False
        return True

    def _is_gone(self, key: RunKey) -> bool:
        """Say whether a DAG run was deleted, though the answer to that was lost."""
        path = f"/dags/{key.dag_id}/dagRuns?limit=1000"
        return key.dag_run_id not in {
            run["dag_run_id"] for run in self.ask("GET", path)["dag_runs"]
        }

    def lives(self) -> bool:
        """Say whether every component of Airflow does."""
        return self.embedded._complete()

    def sweep(self) -> str:
        """Have housekeeping done, and give its log.

        A scheduler that dies meanwhile is started again, as in any deployment: Airflow's does, some
        seconds after a run was deleted that it had just read (3.3.2: ObjectDeletedError).
        """
        key = RunKey(_HOUSEKEEPING, self.client().trigger(_HOUSEKEEPING, {}))
        ended = until(lambda: self._ended(key) or self._revived(), "the end of housekeeping")
        assert ended == "success"
        return self.log(key, "sweep")

    def _revived(self) -> None:
        """Bring up what has died of Airflow."""
        if not self.lives():
            self.embedded.up(lambda _: None)

    def _ended(self, key: RunKey) -> str | None:
        try:
            state = self.client().state(key.dag_id, key.dag_run_id)
        except HpoError:
            return None
        return state if state in DONE else None


@contextmanager
def no_housekeeping(stack: Stack) -> Iterator[None]:
    """Pause what would heal, every ten minutes, all that the tests look at.

    A run that has begun is not held up by a pause: an Airflow that has just come up begins one.
    """
    stack.pause(_HOUSEKEEPING, True)
    while _at_work(stack):
        stack.pause(_HOUSEKEEPING, False)
        until(lambda: not _at_work(stack), "the end of housekeeping")
        stack.pause(_HOUSEKEEPING, True)
    try:
        yield
    finally:
        stack.pause(_HOUSEKEEPING, False)


def _at_work(stack: Stack) -> bool:
    path = f"/dags/{_HOUSEKEEPING}/dagRuns?state=queued&state=running"
    return bool(stack.ask("GET", path)["dag_runs"])


def _path(key: RunKey) -> str:
    return f"/dags/{key.dag_id}/dagRuns/{key.dag_run_id}"


def causes(view: RunView) -> dict[int, Cause | None]:
    """Give the causes of the failed trials."""
    failed = (v.trial for v in view.trials if v.trial.state is TrialState.FAILED)
    return {trial.number: trial.cause for trial in failed}


def repeated(view: RunView) -> dict[int, list[Cause | None]]:
    """Give why the attempts ended of the trials that have several."""
    several = (v for v in view.trials if len(v.attempts) > 1)
    return {v.trial.number: [attempt.cause for attempt in v.attempts] for v in several}


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


@contextmanager
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run the Airflow that all tests of a folder have as `stack`, which ends with the last one."""
    home = tmp_path_factory.mktemp("airflow")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    with airflow(home, DEPLOYMENT, inherited) as started:
        yield started


@contextmanager
def airflow(
    home: Path, installation: Mapping[str, Any], settings: Mapping[str, str]
) -> Iterator[Stack]:
    """Run an Airflow with what a conf may ask for and settings of one's own, which win."""
    config = home / "deployment.yaml"
    config.write_text(yaml.safe_dump(installation))
    embedded = Embedded(ROOT, home, SETTINGS | {"HPO_CONFIG": str(config)} | settings)
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


def aws(endpoint: str, key: str, secret: str) -> dict[str, str]:
    """Describe an Airflow connection to a server that plays AWS."""
    extra = json.dumps({"endpoint_url": endpoint, "region_name": "us-east-1"})
    return {"conn_type": "aws", "login": key, "password": secret, "extra": extra}


@pytest.fixture
def ecs(up: Stack, endpoint: str) -> Iterator[Any]:
    """ECS, to which Airflow has its usual connection; nothing of ours is left on it."""
    from tests.ministack import KEYS, client, containers, running

    body = aws(endpoint, KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"])
    with suppress(HpoError):
        up.client().call("DELETE", "/connections/aws_default")
    up.client().call("POST", "/connections", body | {"connection_id": "aws_default"})
    service = client("ecs", endpoint)
    yield service
    until(lambda: running(service) == [], "the end of the last task")
    until(lambda: containers() == [], "the end of the last container")
    arns = service.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
    assert arns == [], "definitions of attempts are taken back"


def checkout_in(folder: Path) -> Path:
    """Make a folder a checkout whose Airflow is its own, and give it."""
    for name in ("config", "dags", "docker", "hpo_lib", "plugins"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def attempt_processes(home: Path) -> list[psutil.Process]:
    """List the processes of attempts (guards included) of the Airflow in a home."""
    return leftovers(home / "hpo")


def instance(stack: Stack, key: RunKey, trial: int) -> dict[str, Any]:
    """Give the running task instance of a trial, be it that of its slot."""
    place = stack.store.slots.running(stack.run(key).id)[trial]
    slot = number_of(place)

    def is_its(task: dict[str, Any]) -> bool:
        if slot is None:
            return (task["rendered_map_index"] or "").startswith(f"{trial}:")
        return task["task_id"] == "slot" and task["map_index"] == slot - 1

    return next(one for one in stack.tasks(key) if one["state"] == "running" and is_its(one))


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
