"""What the commands share: where this folder's Airflow and its store are, and how they speak."""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import HpoError, SpecError
from hpo_lib.files import shipped
from hpo_lib.words import duration

if TYPE_CHECKING:
    from hpo_lib.cli.embedded import Embedded
    from hpo_lib.installation import Environment, Installation
    from hpo_lib.records.audit import Actor
    from hpo_lib.spec import Spec
    from hpo_lib.store import Store

REFUSED, FAILED = 2, 1
#: How often a line moves on a terminal, and how long it is silent elsewhere.
_MOVES_S, _SILENT_S = 1.0, 9.0
#: The folder of the Airflow on which `hpo nights` plays.
NIGHTS = "nights"
#: What the embedded Airflow takes from the environment; places and names are its own.
_SETTINGS = (
    "HPO_BACKENDS",
    "HPO_COLLECTORS",
    "HPO_CONFIG",
    "HPO_DATA",
    "HPO_DEPLOYERS",
    "HPO_EXPERIMENTS",
    "HPO_GRACE_S",
    "HPO_MAX_PARALLEL",
    "HPO_MAX_WAVES",
    "HPO_SAMPLERS",
    "HPO_SCHEDULERS",
    "HPO_STORE",
    "HPO_TRIAL_DIR",
    "HPO_TRIAL_PATH",
    "HPO_TRIAL_ROOTS",
    "HPO_UMASK",
)
_PLACES = ("HPO_EXPERIMENTS", "HPO_STORE")
#: Where the trials of this folder's Airflow may run: it is its user's own.
ANYWHERE = {"HPO_TRIAL_ROOTS": "/"}


def store_url(options: argparse.Namespace) -> str:
    """Give the store's address: the option, HPO_STORE, or what is in the `home`."""
    return str(options.url or os.environ.get("HPO_STORE") or f"sqlite:///{home() / 'hpo.db'}")


def opened_store(options: argparse.Namespace) -> Store:
    """Open the store that a command is about; SpecError if none is named, and none is here."""
    from hpo_lib.store import Store

    here = home() / "hpo.db"
    if not (options.url or os.environ.get("HPO_STORE") or here.exists()):
        raise SpecError(
            f"there is no store at {here}: say which by --url or HPO_STORE, or by the HPO_HOME or "
            "AIRFLOW_HOME of an Airflow on this machine"
        )
    return Store.open(store_url(options))


def home() -> Path:
    """Give the folder of attempts and reports; `shipped.home` says which."""
    return shipped.home()


def embedded(folder: str = "", own: Mapping[str, str] | None = None) -> Embedded:
    """Give this folder's Airflow, or one in a `folder` of its own that shares no store or files.

    `own` are further settings, which override those of the environment.
    """
    from hpo_lib.cli.embedded import Embedded

    passed_on = [name for name in _SETTINGS if not folder or name not in _PLACES]
    settings = {name: os.environ[name] for name in passed_on if name in os.environ}
    return Embedded(root(), root() / ".airflow" / folder, ANYWHERE | settings | dict(own or {}))


def root() -> Path:
    """Give the folder that the commands are about: HPO_ROOT, the checkout, or where one is."""
    return shipped.root(Path.cwd())


def installation() -> Installation:
    """Give the installation that the DAGs have, from the same variables and file, or the defaults.

    Its connections lead nowhere from here.
    """
    from hpo_lib.installation import installation_of

    return installation_of(site(), _check_options)


def site() -> Environment:
    """Give what the variables of the environment say of it, or of this folder's Airflow."""
    from hpo_lib.installation import Environment

    own = ANYWHERE if home() == embedded().results else {}
    return Environment(root(), variables=own | dict(os.environ))


def program(name: str) -> str:
    """Find the program that a local trial on this machine would be run by, if there is one."""
    from hpo_lib.backends.inherited import environment

    return shutil.which(name, path=environment(os.environ, site().path)["PATH"]) or name


def _check_options(_: Environment, spec: Spec, store: str) -> Any:  # noqa: ARG001 - as DAGs' own
    """Check `deploy.options` only: a deployer can be built only in a DAG."""
    from hpo_lib.registry import load
    from hpo_lib.validation import parse

    if spec.deploy is not None:
        kind = load("deployer", spec.deploy.to)
        parse(kind.Options, spec.deploy.options, at="deploy.options")


def user() -> Actor:
    """Name the user at the keyboard, who may have no name in a container, and the machine."""
    from hpo_lib.records.audit import Actor

    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user {os.getuid()}"
    return Actor(f"{name}@{platform.node()}", "cli")


def complain(error: HpoError) -> int:
    """Print an error; give 2 if the user has to correct something, else 1."""
    with still():
        print(error, file=sys.stderr)
    return REFUSED if isinstance(error, SpecError) else FAILED


def say(text: str) -> None:
    """Print a line at once."""
    with still():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def put(content: bytes) -> None:
    """Print bytes as they are."""
    with still():
        sys.stdout.buffer.write(content)


def remark(text: str) -> None:
    """Print a line at once that is no part of what was asked for."""
    with still():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def moving(text: str, show: Callable[[str], None] = say) -> Iterator[Callable[[str], None]]:
    """Say every now and then, while a block lasts and nothing else is said, that it goes on.

    The block says its lines by what it is given, or by `say`. On a terminal the seconds count on
    one line, elsewhere `show` gets a line every 9 seconds.
    """
    line = _Moving(text, show)
    thread = threading.Thread(target=line.go_on, daemon=True)
    _lines.append(line)
    thread.start()
    try:
        yield line.say
    finally:
        _lines.remove(line)
        line.done.set()
        thread.join()


@contextmanager
def still() -> Iterator[None]:
    """Let nothing move while a block writes, or asks at the terminal."""
    if not _lines:
        yield
        return
    with _lines[-1].hidden():
        yield


class _Moving:
    """A line that moves."""

    def __init__(self, text: str, show: Callable[[str], None]) -> None:
        self._text, self._show, self._terminal = text, show, sys.stderr.isatty()
        self._began = self._said = time.monotonic()
        self._lock, self._drawn, self.done = threading.RLock(), False, threading.Event()

    def say(self, text: str) -> None:
        """Say a line of the block, in place of the one that moves."""
        with self.hidden():
            self._show(text)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Make room for what a block writes."""
        with self._lock:
            self._clear()
            yield
            self._said = time.monotonic()

    def go_on(self) -> None:
        """Move until it is done."""
        pause_s = _MOVES_S if self._terminal else _SILENT_S
        while not self.done.wait(pause_s - (time.monotonic() - self._said) % pause_s):
            with self._lock:
                if time.monotonic() - self._said >= pause_s * 0.9:
                    self._move()
        with self._lock:
            self._clear()

    def _move(self) -> None:
        told = f"{self._text}: {duration(time.monotonic() - self._began)}"
        if not self._terminal:
            self._show(told)
            self._said = time.monotonic()
            return
        sys.stderr.write(f"\r\x1b[K{told}")
        sys.stderr.flush()
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


#: The lines that move now: the last one is seen.
_lines: list[_Moving] = []


def leave(number: int, _: object) -> None:
    """Leave in an orderly way, so that what was started is stopped."""
    raise SystemExit(128 + number)
