"""The commands that run things: `hpo up`, `down`, `run`, `demo`, `store`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import HpoError
from hpo_lib.record import RunKey, RunStatus
from hpo_lib.spec import Spec
from hpo_lib.specfile import read

if TYPE_CHECKING:
    from hpo_lib.embedded import Embedded
    from hpo_lib.remote import Airflow

_DAG = "hpo_local"
#: The folder of the Airflow on which `hpo nights` plays.
NIGHTS = "nights"
#: What the embedded Airflow takes from the environment; places and names are its own.
_SETTINGS = (
    *("HPO_COLLECTORS", "HPO_DATA", "HPO_EXPERIMENTS", "HPO_GRACE_S", "HPO_MAX_PARALLEL"),
    *("HPO_MAX_WAVES", "HPO_STORE", "HPO_TRIAL_DIR", "HPO_TRIAL_PATH"),
)
_PLACES = ("HPO_EXPERIMENTS", "HPO_STORE")


def up(_: argparse.Namespace) -> int:
    """Start the checkout's Airflow and say how to reach it."""
    _say_address(embedded().up(say))
    return 0


def down(_: argparse.Namespace) -> int:
    """Stop the checkout's Airflow and its trials, that of `hpo nights` too."""
    embedded().down()
    embedded(NIGHTS).down()
    say("Airflow is down")
    return 0


def run(options: argparse.Namespace) -> int:
    """Trigger the DAG with a spec and show its progress; 0 only if all of it went well."""
    spec = read(options.file)
    own = embedded()
    if not own.running():
        raise HpoError("no Airflow runs here; start one with `make up`")
    return _run(own, own.client(), spec)


def demo(options: argparse.Namespace) -> int:
    """Start Airflow, run a spec, and stop Airflow again if it was started here."""
    spec = read(options.file)
    own = embedded()
    with started(own, keep=options.keep or own.running()) as client:
        return _run(own, client, spec)


@contextmanager
def started(own: Embedded, *, keep: bool) -> Iterator[Airflow]:
    """Have Airflow run, and stop it in the end, whatever happens, unless it is to be kept."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        client = own.up(say)
        _say_address(client)
        yield client
    finally:
        if not keep:
            say(f"stopping Airflow; what it has made stays in {own.results}")
            own.down()


def store(options: argparse.Namespace) -> int:
    """Bring the store's schema up to date, or check that it is."""
    from hpo_lib.store import Store, upgrade

    url = store_url(options)
    if options.action == "upgrade":
        say(f"the store is at revision {upgrade(url)}")
        return 0
    with Store.open(url):
        say("the store is ready")
    return 0


def store_url(options: argparse.Namespace) -> str:
    """Give the store's address: the option, HPO_STORE, or that of the checkout's Airflow."""
    return str(options.url or os.environ.get("HPO_STORE") or embedded().store_url)


def home() -> Path:
    """Give the folder of attempts and reports: HPO_HOME, or that of the checkout's Airflow."""
    named = os.environ.get("HPO_HOME")
    return Path(named).absolute() if named else embedded().results


def _run(own: Embedded, client: Airflow, spec: Spec) -> int:
    key = RunKey(_DAG, client.trigger(_DAG, spec.unscheduled().dump()))
    return 0 if follow(own, client, key) else 1


def follow(own: Embedded, client: Airflow, key: RunKey) -> bool:
    """Show a DAG run's progress and its end, and say whether all of it went well."""
    from hpo_lib.store import Store
    from hpo_lib.watch import ending, watch

    url = client.run_url(key.dag_id, key.dag_run_id)
    say(f"triggered {key.dag_id}: {url}")
    with Store.open(own.store_url) as opened:
        ended = watch(client, opened, key, say, own.running)
        if ended is None:
            raise HpoError(f"the DAG run failed before it began; see {url}")
        say(ending(opened, ended, own.results, url))
    if client.state(key.dag_id, key.dag_run_id) == "success":
        return ended.status is RunStatus.COMPLETE
    tasks = client.failed_tasks(key.dag_id, key.dag_run_id)
    say(f"failed      {', '.join(tasks) or 'the DAG run'}: see the log in Airflow")
    return False


def embedded(folder: str = "", own: Mapping[str, str] | None = None) -> Embedded:
    """Give the checkout's Airflow, or one in a `folder` of it that shares no store or files.

    `own` are settings of that one, which win.
    """
    from hpo_lib.embedded import Embedded

    passed_on = [name for name in _SETTINGS if not folder or name not in _PLACES]
    settings = {name: os.environ[name] for name in passed_on if name in os.environ}
    return Embedded(root(), root() / ".airflow" / folder, settings | dict(own or {}))


def root() -> Path:
    """Give the checkout that the commands are about."""
    found = Path(os.environ.get("HPO_ROOT") or Path(__file__).resolve().parents[1])
    if not (found / "dags" / "hpo_on_demand.py").exists():
        raise HpoError(f"no checkout of this project at {found}; name one in HPO_ROOT")
    return found


def _leave(number: int, _: object) -> None:
    """Leave in an orderly way, so that what was started is stopped."""
    raise SystemExit(128 + number)


def _say_address(client: Airflow) -> None:
    say(f"Airflow is up: {client.url}   user {client.user}   password {client.password}")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _add_up(commands: Any) -> None:
    text = "start an Airflow of this checkout's own: SQLite, LocalExecutor, loopback only"
    commands.add_parser("up", help=text, description=text).set_defaults(run=up)


def _add_down(commands: Any) -> None:
    text = "stop that Airflow and the trials that run on it"
    commands.add_parser("down", help=text, description=text).set_defaults(run=down)


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run a spec on that Airflow and show its progress",
        description="Trigger the DAG hpo_local with a spec, show progress until the run has ended.",
        epilog="example: hpo run config/experiments/digits.yaml",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a spec in YAML or JSON")
    parser.set_defaults(run=run)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="up, run and down in one",
        description="Start Airflow, run a spec on it, show progress and result, stop Airflow.",
        epilog="example: hpo demo config/experiments/digits.yaml --keep",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a spec in YAML or JSON")
    parser.add_argument("--keep", action="store_true", help="leave Airflow running afterwards")
    parser.set_defaults(run=demo)


def _add_store(commands: Any) -> None:
    parser = commands.add_parser(
        "store",
        help="prepare or check the store's schema",
        description="Bring the schema of the experiments' store up to date, or check that it is.",
        epilog="example: HPO_STORE=postgresql://user@host/hpo hpo store upgrade",
    )
    parser.add_argument("action", choices=["upgrade", "check"])
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=store)


COMMANDS: list[Callable[[Any], None]] = [_add_up, _add_down, _add_run, _add_demo, _add_store]
