"""An Airflow of its own for one folder: SQLite, LocalExecutor, loopback, nothing left behind.

Everything it writes is below its home. Its processes are found again by their environment
(HPO_EMBEDDED) and, where Airflow has written a title over that, by the session they belong to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from hpo_lib.backends import local_processes
from hpo_lib.cli.airflow_api import Airflow
from hpo_lib.cli.umask import DEFAULT, umask, umasked
from hpo_lib.errors import HpoError, TransientError
from hpo_lib.files import shipped
from hpo_lib.store import upgrade

#: Airflow's servers of logs take every address (3.3.2). None is started: the API server reads the
#: logs of running tasks, too, in the folder that all components share.
COMPONENTS: Mapping[str, Sequence[str]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
#: Where nobody listens: Airflow looks for such a server all the same, and is not to find another's.
_NO_SERVER = 1
_START_S = 300.0
_STOP_S = 20.0
_POLL_S = 0.25
#: What guards trials, and what they are forked of.
_OF_TRIALS = ("local_guard.py", "local_starter.py", "local_template.py")
_MARK = "HPO_EMBEDDED"
_POOL, _POOL_SLOTS = "hpo_trials", 6
#: Two commands of Airflow's in one process, as most of the time of each goes into its imports.
_PREPARE = """
import sys
from airflow.__main__ import main
name, places = sys.argv[1:]
pool = ["pools", "set", name, places, "trials of hyperparameter tuning"]
for sys.argv[1:] in ["db", "migrate"], pool:
    main()
"""
_CONNECT_ARGS = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC",
)
_PATIENT = "hpo_airflow.sqlite.PATIENT"
NONE = "no Airflow runs here; `hpo up` starts one"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The Airflow of the folder `root`, such as a checkout, with its files in `home`, AIRFLOW_HOME.

    `settings` are further environment variables; they win.
    """

    root: Path
    home: Path
    settings: Mapping[str, str]

    @property
    def results(self) -> Path:
        """Folder of attempts and reports."""
        return self.home / "hpo"

    @property
    def store_url(self) -> str:
        """Address of the experiments' store."""
        return self.settings.get("HPO_STORE") or f"sqlite:///{self.results / 'hpo.db'}"

    @property
    def has_store(self) -> bool:
        """Say whether it has a store to ask, whether or not it is up."""
        return "HPO_STORE" in self.settings or (self.results / "hpo.db").exists()

    @property
    def passwords(self) -> Path:
        """The file of the password, for its owner alone; there from the first start on."""
        return self.home / "passwords.json"

    @property
    def umask(self) -> int:
        """What all that it writes lacks for group and others: HPO_UMASK."""
        return umask(self.settings.get("HPO_UMASK", DEFAULT))

    def client(self) -> Airflow:
        """Give a client of the running Airflow; HpoError if none was started."""
        facts = self._facts()
        if facts is None:
            raise HpoError(NONE)
        return Airflow(f"http://127.0.0.1:{facts['port']}", "admin", facts["password"])

    def running(self) -> bool:
        """Say whether any process of this Airflow lives; what stands over trials does not count."""
        return any(not _is_of_trials(process) for process in self.processes())

    def processes(self) -> Iterator[psutil.Process]:
        """Give every living process of this Airflow, its trials' guards included."""
        sessions = self._sessions()
        for process in psutil.process_iter():
            try:
                ours = _belongs(process, str(self.home), sessions)
                if ours and process.pid != os.getpid() and process.status() != "zombie":
                    yield process
            except (psutil.Error, OSError):
                continue

    def up(self, say: Callable[[str], None]) -> Airflow:
        """Start every component that does not run and wait until the DAGs can be triggered."""
        facts = self._facts(create=True)
        env = self.environment(facts)
        if not self._complete():
            self.kill()
            with umasked(self.umask):
                say("preparing Airflow's database and the store")
                self._prepare(env)
                say(f"starting Airflow on http://127.0.0.1:{facts['port']}")
                self._start_all(env)
        client = self.client()
        self._wait(client, "hpo_local")
        return client

    def down(self) -> None:
        """End every process of this Airflow and every trial it has started."""
        self._signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_S
        while any(self.processes()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        self.kill()
        # A guard that hangs: its keeper is killed last, for it alone may find what is below.
        for folder in {folder for folder, _ in local_processes.running(self.results)}:
            local_processes.end(folder)
        while any(self.processes()):
            self._signal(signal.SIGKILL)
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """SIGKILL all of Airflow at once, as a crash would, and leave its trials alone."""
        while self.running():
            for process in list(self.processes()):
                if not _is_of_trials(process):
                    _send(process, signal.SIGKILL)

    def environment(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """Give the environment that makes `airflow` ours."""
        file, folder = (f"{mode & ~self.umask:#o}" for mode in (0o666, 0o777))
        ours = shipped.folder()
        keys = {
            "AIRFLOW_HOME": self.home,
            "AIRFLOW_CONFIG": ours / "config" / "airflow.cfg",
            "AIRFLOW__CORE__DAGS_FOLDER": ours / "dags",
            "AIRFLOW__CORE__PLUGINS_FOLDER": ours / "plugins",
            "AIRFLOW__CORE__FERNET_KEY": facts["fernet"],
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.passwords,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": (
                f"http://127.0.0.1:{facts['port']}/execution/"
            ),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": self.home / "logs",
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": file,
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": folder,
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": _NO_SERVER,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": _NO_SERVER,
            "AIRFLOW__API__PORT": facts["port"],
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{facts['port']}",
            "AIRFLOW__API__SECRET_KEY": facts["secret"],
            "AIRFLOW__API_AUTH__JWT_SECRET": facts["jwt"],
            "AIRFLOW_CONN_HPO_AIRFLOW": json.dumps(
                {
                    "conn_type": "http",
                    "host": "127.0.0.1",
                    "port": facts["port"],
                    "login": "admin",
                    "password": facts["password"],
                }
            ),
            _MARK: self.home,
            "HPO_ROOT": self.root,
            "HPO_HOME": self.results,
            "HPO_STORE": self.store_url,
            "HPO_POOL": _POOL,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": ours / "config",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in self.settings:
            keys |= dict.fromkeys(_CONNECT_ARGS, _PATIENT)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "HPO_"))}
        return inherited | {name: str(value) for name, value in keys.items()} | dict(self.settings)

    def airflow(self, *words: str) -> None:
        """Run an `airflow` command to its end; HpoError shows what it printed if it fails."""
        env = self.environment(self._facts(create=True))
        with umasked(self.umask):
            _run([sys.executable, "-m", "airflow", *words], env, f"airflow {' '.join(words)}")

    def _prepare(self, env: Mapping[str, str]) -> None:
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        upgrade(self.store_url)
        made = self.home / "prepared.json"
        known = self._database(env)
        if known is not None and made.exists() and json.loads(made.read_text()) == known:
            return
        _run([sys.executable, "-c", _PREPARE, _POOL, str(_POOL_SLOTS)], env, "airflow db migrate")
        _write_private(made, self._database(env))

    def _database(self, env: Mapping[str, str]) -> dict[str, Any] | None:
        """Say what Airflow's database was prepared by, and for what; None if it is not our file."""
        file = self.home / "airflow.db"
        if env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] != f"sqlite:///{file}" or not file.exists():
            return None
        try:
            with closing(sqlite3.connect(file)) as connection:
                revisions = connection.execute("SELECT * FROM alembic_version").fetchall()
        except sqlite3.Error:
            return None
        settings = sorted(item for item in env.items() if item[0].startswith("AIRFLOW__"))
        return {
            "airflow": version("apache-airflow"),
            "revisions": [one for (one,) in revisions],
            "settings": hashlib.sha256(json.dumps(settings).encode()).hexdigest(),
        }

    def _start_all(self, env: Mapping[str, str]) -> None:
        sessions: list[int] = []
        for component in COMPONENTS:
            sessions.append(self._start(component, env))
            _write_private(self.home / "sessions.json", sessions)

    def _start(self, component: str, env: Mapping[str, str]) -> int:
        """Start a component as the leader of a new session and give the session's number.

        The API server is not patient: its event loop may wait for a writer that needs the loop to
        end (3.3.2: the log of who does what), which only the end of the wait can end.
        """
        if component == "api-server":
            env = {name: value for name, value in env.items() if value != _PATIENT}
        with (self.home / "logs" / f"{component}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - Airflow itself
                [sys.executable, "-m", "airflow", component, *COMPONENTS[component]],
                env=dict(env),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).pid

    def _wait(self, client: Airflow, dag_id: str) -> None:
        end = time.monotonic() + _START_S
        while not (client.serves_tasks() and client.is_ready(dag_id)):
            if errors := client.import_errors():
                raise HpoError(f"Airflow cannot import the DAGs:\n{errors}")
            if time.monotonic() > end or not self.running():
                logs = self.home / "logs"
                raise TransientError(f"Airflow did not come up within {_START_S:.0f} s; see {logs}")
            time.sleep(_POLL_S)

    def _facts(self, *, create: bool = False) -> Any:
        """Read port and secrets, generated once, readable by the owner only."""
        path = self.home / "embedded.json"
        if path.exists():
            facts = json.loads(path.read_text())
            if create and not self.running() and not _is_free(facts["port"]):
                facts["port"] = _free_port()
                _write_private(path, facts)
            return facts
        if not create:
            return None
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = {
            "port": _free_port(),
            "password": secrets.token_urlsafe(12),
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "secret": secrets.token_urlsafe(32),
            "jwt": secrets.token_urlsafe(64),
        }
        _write_private(self.passwords, {"admin": facts["password"]})
        _write_private(path, facts)
        return facts

    def _complete(self) -> bool:
        """Say whether every component lives."""
        leaders = {process.pid for process in self.processes()}
        sessions = self._sessions()
        return len(sessions) == len(COMPONENTS) and sessions <= leaders

    def _sessions(self) -> set[int]:
        path = self.home / "sessions.json"
        return set(json.loads(path.read_text())) if path.exists() else set()

    def _signal(self, number: int) -> None:
        for process in list(self.processes()):
            _send(process, number)


def _belongs(process: psutil.Process, home: str, sessions: set[int]) -> bool:
    if process.environ().get(_MARK) == home:
        return True
    if os.getsid(process.pid) not in sessions:
        return False
    return "airflow" in " ".join(process.cmdline())


def _is_of_trials(process: psutil.Process) -> bool:
    try:
        return any(word.endswith(_OF_TRIALS) for word in process.cmdline())
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def _run(command: list[str], env: Mapping[str, str], what: str) -> None:
    done = subprocess.run(  # noqa: S603 - Airflow itself
        command,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4_000:]
        raise HpoError(f"`{what}` failed:\n{said}")


def _write_private(path: Path, content: Any) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
