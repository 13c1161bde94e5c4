"""A real Airflow in which things go wrong: its runs, its processes, and who looks after them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from hpo_lib.cli.airflow_api import DONE
from hpo_lib.cli.embedded import COMPONENTS, Embedded
from hpo_lib.errors import HpoError
from hpo_lib.records import RunKey
from hpo_lib.runs.shape import dag_id_of
from tests.acceptance.conftest import Stack
from tests.chaos import experiments
from tests.chaos.clock import Clock
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import STEPS
from tests.postgres import Server

_ORDER = list(STEPS)
_POLL_S = 0.2
_PATIENCE_S = 900.0
_THINKS_S = 5.0
_SIGNS = "%Y-%m-%d %H:%M:%S.%f"


class Standstill(Exception):
    """What was waited for has not come."""


@dataclass(frozen=True)
class Place:
    """A store, a backend with what a spec's `trial` has there, and the URI of its artifacts.

    `carrier` are the words before a trial's command that have its output carried to the artifacts.
    """

    name: str
    store: str = "sqlite"
    backend: str = "local"
    trial: Mapping[str, Any] = field(default_factory=dict)
    artifacts: str | None = None
    carrier: Sequence[str] = ()


@dataclass
class Going:
    """A run of this round: its experiment, which night it is, and the trials that were marked."""

    mode: str
    night: int
    name: str
    key: RunKey
    marked: set[int] = field(default_factory=set)


@dataclass
class World:
    """Airflow with a store, on which a place's nights are played."""

    stack: Stack
    place: Place
    proxy: Proxy
    server: Server | None = None
    database: str = ""
    s3: Proxy | None = None
    #: Whether the folder of results is a small file system of its own.
    has_disk: bool = False
    #: What sets the clock of Airflow, where that can be stepped.
    clock: Clock | None = None
    runs: list[Going] = field(default_factory=list)
    #: How often an attempt of a trial was hit in this round, by the folder of the trial.
    hits: Counter[str] = field(default_factory=Counter)
    #: The nights that were played of an experiment, by its name.
    nights: dict[str, list[Going]] = field(default_factory=dict)
    #: When a question of a task was first seen.
    asked: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Attempts whose end may have been lost together with who was to write it down.
    robbed: set[str] = field(default_factory=set)

    @property
    def embedded(self) -> Embedded:
        return self.stack.embedded

    @property
    def home(self) -> Path:
        return self.embedded.home

    # Time

    def until(
        self, condition: Callable[[], Any], what: str, patience_s: float = _PATIENCE_S
    ) -> Any:
        """Wait for a state, and meanwhile look after Airflow as a service manager does."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            with suppress(HpoError, OSError, sqlite3.Error):
                self.revive()
                if found := condition():
                    return found
            time.sleep(_POLL_S)
        raise Standstill(f"waited {patience_s:.0f} s in vain for {what}")

    def pass_time(self, seconds: float) -> None:
        """Let time go by, unless all runs end before."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end or self.over, "time to go by")

    # Runs

    def begin(self, number: int) -> None:
        """Begin the next night of both: one in slots, the other with a task for each trial."""
        night = (number - 1) % experiments.NIGHTS + 1
        self.runs, self.hits = [], Counter()
        dags = [dag_id_of(self.place.backend, in_slots=one) for one in (True, False)]
        for dag in dags:
            self.until(lambda dag=dag: self.stack.client().is_ready(dag), "a healthy Airflow")
        for place, mode in enumerate(experiments.MODES):
            dag = dags[(number + place) % 2]
            name = f"{mode}-{(number - 1) // experiments.NIGHTS + 1}"
            conf = experiments.conf(
                mode, night, name=name, trial=self.place.trial, carrier=self.place.carrier
            )
            if self.place.artifacts:
                conf["artifacts"] = {"uri": self.place.artifacts, "keep": "best"}
            key = self.stack.trigger(conf, dag)
            self.runs.append(Going(mode, night, name, key))
            self.nights.setdefault(name, []).append(self.runs[-1])

    @property
    def over(self) -> bool:
        """Whether every run of this round has ended."""
        states = [self.state(one.key) for one in self.runs]
        return all(state in DONE for state in states)

    def see_through(self) -> None:
        """Wait for the end of every run, and approve what people are asked."""
        self.until(lambda: self.approve() or self.over, "the end of all runs")

    def steps(self) -> list[str]:
        """Name the steps that the runs which go on have come to, in their order."""
        tasks = [task for task in self.tasks() if task["state"] not in (None, "skipped", "removed")]
        found = set()
        for one in self.runs:
            if self.state(one.key) not in DONE:
                mine = [_step_of(t["task_id"]) for t in tasks if t["run_id"] == one.key.dag_run_id]
                found.add(max(mine, key=_ORDER.index, default=_ORDER[0]))
        return sorted(found, key=_ORDER.index)

    def tasks(self) -> list[dict[str, Any]]:
        """List this round's task instances as Airflow's database has them."""
        found: list[dict[str, Any]] = []
        for one in self.runs:
            found += self._ask(
                "SELECT * FROM task_instance WHERE dag_id = ? AND run_id = ?",
                one.key.dag_id,
                one.key.dag_run_id,
            )
        return found

    def begun(self) -> set[tuple[str, int]]:
        """Name the tries of tasks that Airflow has begun; when, only its own clock would tell."""
        tried = [task for task in self.tasks() if task["try_number"] and task["start_date"]]
        return {(str(task["id"]), task["try_number"]) for task in tried}

    def approve(self) -> None:
        """Say yes wherever people have been asked for a while.

        Airflow may lose an answer that comes at once, and ask again (3.3.2).
        """
        for task in self.tasks():
            if task["task_id"] == "approve" and task["state"] == "awaiting_input":
                since = self.asked.setdefault((task["id"], task["try_number"]), time.monotonic())
                if time.monotonic() < since + _THINKS_S:
                    continue
                path = f"/dags/{task['dag_id']}/dagRuns/{task['run_id']}/taskInstances/approve/-1"
                answer = {"chosen_options": ["Approve"], "params_input": {}}
                with suppress(HpoError):
                    self.stack.client().call("PATCH", f"{path}/hitlDetails", answer)

    def run_of(self, task: Mapping[str, Any]) -> Going:
        """Give the run of a task instance."""
        return next(one for one in self.runs if one.key.dag_run_id == task["run_id"])

    def state(self, key: RunKey) -> str:
        (found,) = self._ask(
            "SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", key.dag_id, key.dag_run_id
        )
        return str(found["state"])

    def _ask(self, query: str, *values: str) -> list[dict[str, Any]]:
        uri = f"file:{self.home / 'airflow.db'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    # Components

    def revive(self) -> None:
        """Begin every component that has died, as a service manager does: after its remains."""
        sessions = self._sessions()
        for at, component in enumerate(COMPONENTS):
            if not _lives(sessions[at]):
                while left := list(_of_session(sessions[at])):
                    for process in left:
                        send(process, signal.SIGKILL)
                sessions[at] = self.embedded._start(component, self._environment())
                (self.home / "sessions.json").write_text(json.dumps(sessions))

    def component(self, name: str) -> psutil.Process:
        """Give the leading process of a component; NoSuchProcess if it is dead."""
        return psutil.Process(self._sessions()[list(COMPONENTS).index(name)])

    def _environment(self) -> dict[str, str]:
        return self.embedded.environment(self.embedded._facts())

    def _sessions(self) -> list[int]:
        return list(json.loads((self.home / "sessions.json").read_text()))


def _step_of(task_id: str) -> str:
    if task_id in ("gate", "approve", "deploy"):
        return task_id
    return "final" if task_id.startswith("final.") else "search"


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _of_session(number: int) -> Iterator[psutil.Process]:
    """Give what lives of a session; it may beget more while it is ended."""
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) == number and _lives(process.pid):
                yield process


def now() -> str:
    """Give the time as Airflow's database writes it."""
    return datetime.now(UTC).strftime(_SIGNS)


def seconds(since: str, until: str) -> float:
    """Give the seconds between two such times."""
    first, last = (datetime.strptime(f"{one} +0000", f"{_SIGNS} %z") for one in (since, until))
    return round((last - first).total_seconds(), 1)


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal; a process that has just ended does not mind."""
    with suppress(psutil.Error):
        process.send_signal(number)
