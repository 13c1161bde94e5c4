"""`hpo up`, `down`, `run` and `demo`: run a spec on an Airflow, and show how it goes."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli import contexts, remote_commands
from hpo_lib.cli.console import NIGHTS, embedded, leave, moving, remark, say, site
from hpo_lib.cli.spec_file import notes_elsewhere, read_conf, read_elsewhere, team_of
from hpo_lib.core.teams import no_team
from hpo_lib.errors import HpoError, SpecError
from hpo_lib.records import RunKey, RunStatus
from hpo_lib.registry import backends

if TYPE_CHECKING:
    from hpo_lib.cli.airflow_api import Airflow
    from hpo_lib.cli.embedded import Embedded
    from hpo_lib.spec import Spec

#: A DAG file that is read anew takes a moment to have all its DAGs.
_KNOWN_S, _POLL_S = 10.0, 0.5


def up(options: argparse.Namespace) -> int:
    """Start this folder's Airflow and say how to reach it."""
    own = embedded()
    _refuse_another_home(own)
    _up(own, show_password=options.show_password)
    return 0


def _refuse_another_home(own: Embedded) -> None:
    """Refuse an HPO_HOME that would not count: it may be that of another Airflow.

    `hpo down` ends all trials in the folder of results. An Airflow that is up keeps to its own.
    """
    named = os.environ.get("HPO_HOME")
    if named and Path(named).absolute() != own.results and not own.running():
        raise SpecError(
            "HPO_HOME: must not be set where an Airflow of this folder is to start, which has its "
            f"attempts and reports in {own.results}, got {named}; to have them on another disk, "
            "call this in a folder there"
        )


def _up(own: Embedded, *, show_password: bool = False) -> Airflow:
    """Start an Airflow and say its address, at its first start with the password."""
    is_first = not own.passwords.exists()
    with moving("Airflow is coming up") as show:
        client = own.up(show)
    secret = client.password if is_first or show_password else _where(own.passwords)
    say(f"Airflow is up: {client.url}   user {client.user}   password {secret}")
    return client


def _where(passwords: Path) -> str:
    return f"in {passwords}, which hpo up --show-password shows"


def down(_: argparse.Namespace) -> int:
    """Stop this folder's Airflow and its trials, that of `hpo nights` too."""
    embedded().down()
    embedded(NIGHTS).down()
    say("Airflow is down")
    return 0


def run(options: argparse.Namespace) -> int:
    """Trigger the DAG of a spec's backend and show progress; 0 only if all of it went well.

    Where no Airflow is named and none is up here, one is started, which stays.
    """
    from hpo_lib.cli import submitting

    team = options.team
    if not team and (owner := team_of(options.file)):
        name = options.file.name
        remark(f"note: {name} is of team {owner}; --team {owner} runs it as theirs")
    if contexts.chosen(options) is not None:
        client = contexts.client(options)
        with moving(f"{options.file} is checked", remark):
            spec = read_elsewhere(options.file)
        for note in notes_elsewhere(options.file, spec):
            remark(f"{options.file}: note: {note}")
        return submitting.run(client, spec, team, as_json=options.json)
    own = embedded()
    _refuse_another_home(own)
    if team and team not in (known := site().teams):
        raise no_team(team, known)
    spec = _checked(options.file, team)
    client = own.client() if own.running() else _begun(own)
    key = _triggered(client, spec, team)
    return submitting.interruptible(client, key, lambda: 0 if follow(own, client, key) else 1)


def _checked(file: Path, team: str = "") -> Spec:
    with moving(f"{file} is checked", remark):
        return read_conf(file, team)


def _begun(own: Embedded) -> Airflow:
    """Start this folder's Airflow, which stays up; what has come up in part is stopped."""
    say("no Airflow runs here: starting one, which takes a minute or two the first time")
    try:
        client = _up(own)
    except BaseException:
        own.down()
        raise
    say("it stays up for the next run; hpo down stops it")
    return client


def demo(options: argparse.Namespace) -> int:
    """Start Airflow, run a spec, and stop Airflow again if it was started here."""
    own = embedded()
    _refuse_another_home(own)
    spec = _checked(options.file)
    with started(own, keep=options.keep or own.running()) as client:
        return 0 if follow(own, client, _triggered(client, spec)) else 1


@contextmanager
def started(own: Embedded, *, keep: bool) -> Iterator[Airflow]:
    """Start Airflow for a block, and stop it in the end, whatever happens, unless `keep`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        yield _up(own)
    finally:
        if not keep:
            with suppress(BrokenPipeError):
                say(f"stopping Airflow; what it has made stays in {own.results}")
            with moving("Airflow is going down"):
                own.down()


def _triggered(client: Airflow, spec: Spec, team: str = "") -> RunKey:
    with moving("Airflow is told"):
        dag_id = _dag_of(client, spec, team)
        return RunKey(dag_id, client.trigger(dag_id, spec.unscheduled().dump()))


def _dag_of(client: Airflow, spec: Spec, team: str) -> str:
    """Name the DAG that runs a spec for a team; HpoError if this Airflow does not have it."""
    from hpo_lib.runs.shape import dag_id_of

    backend, end = spec.trial.backend, time.monotonic() + _KNOWN_S
    dag_id = dag_id_of(backend, team)
    while not client.has(dag_id):
        if time.monotonic() > end:
            raise HpoError(
                f"the Airflow at {client.url} has no DAG {dag_id}, which runs trial.backend "
                f"{backend}: it needs {backends()[backend].needs} there, of hpo-lib the extra "
                f"docker, kubernetes or amazon, and a section {backend} in config/deployment.yaml; "
                "then `hpo down` and `hpo up`"
            )
        time.sleep(_POLL_S)
    return dag_id


def follow(own: Embedded, client: Airflow, key: RunKey) -> bool:
    """Show a DAG run's progress and its end, and say whether all of it went well."""
    from hpo_lib.cli.progress import ending, watch
    from hpo_lib.cli.submitting import wait_while_paused
    from hpo_lib.store import Store

    url = client.run_url(key.dag_id, key.dag_run_id)
    say(f"triggered {key.dag_id}: {url}")
    wait_while_paused(client, key)
    with Store.open(own.store_url) as opened:
        ended = watch(client, opened, key, say, own.running)
        if ended is None:
            raise HpoError(f"the DAG run failed before it began; see {url}")
        say(ending(opened, ended, own.results, url))
    if client.state(key.dag_id, key.dag_run_id) == "success":
        return ended.status is RunStatus.COMPLETE
    # A report that is there is red only because the run has failed.
    tasks = [one for one in client.failed_tasks(key.dag_id, key.dag_run_id) if one != "report"]
    if tasks or ended.status is RunStatus.COMPLETE:
        say(f"failed      {', '.join(tasks) or 'the DAG run'}: see the log in Airflow")
    return False


def _add_up(commands: Any) -> None:
    text = "start an Airflow of this folder's own: SQLite, LocalExecutor, loopback only"
    parser = commands.add_parser("up", help=text, description=text)
    told = "say the password again, which only the first start says by itself"
    parser.add_argument("--show-password", action="store_true", help=told)
    parser.set_defaults(run=up)


def _add_down(commands: Any) -> None:
    text = "stop that Airflow and the trials that run on it"
    commands.add_parser("down", help=text, description=text).set_defaults(run=down)


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run a spec on an Airflow and show its progress",
        description=(
            "Trigger the DAG of a spec's backend, such as hpo_local, with the spec as its conf, "
            "and show progress until the run has ended. Where no Airflow is named and none is up "
            "here, start one, which stays up. Ctrl-C leaves the run to itself; a second one within "
            "three seconds stops it."
        ),
        epilog="example: hpo run config/experiments/digits.yaml",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a spec in YAML or JSON")
    remote_commands.add_where(parser)
    parser.add_argument("--team", default="", metavar="NAME", help="run it as this team's")
    parser.add_argument("--json", action="store_true", help="write JSON, when the run has ended")
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


COMMANDS: list[Callable[[Any], None]] = [_add_up, _add_down, _add_run, _add_demo]
