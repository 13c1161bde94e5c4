"""The parsers of the commands that speak to any Airflow, and the options that say to which."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpo_lib.cli import model, remote
from hpo_lib.registry import EXPORTERS

_WHERE = """\
Which Airflow: --airflow, HPO_AIRFLOW, --context, HPO_CONTEXT, what `hpo context use` has
chosen, or this checkout's own. As whom: HPO_TOKEN, or --user or HPO_USER with HPO_PASSWORD, the
keyring, or the terminal.
"""


def add_where(parser: argparse.ArgumentParser) -> None:
    """Let a command be told which Airflow it speaks to, before or behind its name."""
    absent: Any = argparse.SUPPRESS
    parser.add_argument(
        "--airflow", metavar="URL", default=absent, help="the address of an Airflow"
    )
    parser.add_argument("--context", metavar="NAME", default=absent, help="a saved context")
    parser.add_argument("--user", default=absent, help="as whom")


def _added(commands: Any, name: str, run: Callable[..., int], text: str, **how: Any) -> Any:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **how,
    )
    add_where(parser)
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)
    return parser


#: Commands about one run, or one trial: name, what it runs, its words, whether of a trial.
_OF_A_RUN: Sequence[tuple[str, Callable[..., int], str, bool]] = (
    ("status", remote.status, "say where a run is", False),
    ("watch", remote.watch, "follow a run to its end; 0 if it is complete, 1 if it failed", False),
    ("trials", remote.trials, "list the trials of a run", False),
    ("best", remote.best, "show the best trial of a run, or its Pareto front", False),
    (
        "model",
        model.model,
        "list what the best trial has left, such as its model, or copy it",
        False,
    ),
    ("log", remote.log, "print the log of a trial", True),
    ("spec", remote.spec, "print the spec of a run, as YAML", False),
    ("report", remote.report, "save the report of a run as an HTML file", False),
    ("export", remote.export, "write the trials of a run as a table", False),
    (
        "stop",
        remote.stop,
        "stop a run gracefully: its running trials stop, a report follows",
        False,
    ),
    ("cancel", remote.cancel, "end a run at once, as failed; housekeeping reports it", False),
    ("extend", remote.extend, "let a run have more trials, also one that has ended", False),
    ("add-point", remote.add_point, "have a run try a configuration next", False),
    ("stop-trial", remote.stop_trial, "stop a trial, which is no failure", True),
)


#: Those that change nothing, and may go without a number.
_OF_THE_NEWEST = {"watch", "trials", "best", "model", "report", "export"}


def _add_of_a_run(commands: Any) -> None:
    made = {}
    for name, run, text, of_trial in _OF_A_RUN:
        parser = made[name] = _added(commands, name, run, text)
        if name in _OF_THE_NEWEST:
            text = "the number of a run; without it, the newest one"
            parser.add_argument("number", metavar="RUN", nargs="?", type=int, help=text)
        else:
            parser.add_argument("number", metavar="RUN", type=int, help="the number of a run")
        if of_trial:
            parser.add_argument("trial", metavar="TRIAL", type=int, help="the number of a trial")
    made["trials"].add_argument("--final", action="store_true", help="those of final training")
    _add_wide(made["trials"])
    made["log"].add_argument(
        "-f", "--follow", action="store_true", help="until the trial has ended"
    )
    made["log"].add_argument(
        "--attempt", metavar="N", type=_count, help="which of its attempts (default: the newest)"
    )
    made["model"].add_argument("--trial", type=int, metavar="N", help="of another trial")
    made["model"].add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="copy what is in model/ there"
    )
    made["model"].add_argument("--all", action="store_true", help="copy all that it has left")
    made["model"].add_argument("--force", action="store_true", help="replace files that are there")
    made["report"].add_argument("-o", "--output", type=Path, metavar="FILE", help="where to")
    made["export"].add_argument("-o", "--output", metavar="FILE", help="where to")
    made["report"].add_argument("--open", action="store_true", help="open it in a browser")
    made["extend"].add_argument("--trials", type=_count, required=True, help="how many more")
    made["add-point"].add_argument("params", nargs="+", metavar="NAME=VALUE")


def _add_wide(parser: Any) -> None:
    parser.add_argument("--wide", action="store_true", help="show whole reasons on a terminal, too")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be >= 0, got {number}")
    return number


def _add_export(commands: Any) -> None:
    """Let `export` be told one form; its --json is that of the other commands."""
    parser = commands.choices["export"]
    parser.set_defaults(form="csv")
    parser.add_argument(
        "--to",
        choices=EXPORTERS,
        help="in the form of another tool, at -o, from the store itself: --url, HPO_STORE, or this "
        "folder's",
    )
    parser.add_argument("--url", help="with --to: the store's address")
    for form in ("csv", "parquet"):
        text = f"as {form.upper()}" + (", the default" if form == "csv" else "")
        parser.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=text)


def _add_lists(commands: Any) -> None:
    parser = _added(commands, "runs", remote.runs, "list runs, the newest first")
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT")
    parser.add_argument("--status", choices=["running", "complete", "failed", "refused"])
    parser.add_argument("--limit", type=int, default=20, help="how many at most (20)")
    _add_wide(parser)
    _added(commands, "experiments", remote.experiments, "list experiments by name")


def _add_conf(commands: Any) -> None:
    parser = commands.add_parser(
        "conf",
        help="print a spec as the JSON to paste into Airflow's trigger dialog",
        epilog="example: hpo conf config/experiments/digits.yaml",
    )
    parser.add_argument("file", metavar="SPEC", type=Path, help="a spec in YAML or JSON")
    parser.add_argument("--json", action="store_true", help="on one line")
    parser.set_defaults(run=remote.conf)


COMMANDS: list[Callable[[Any], None]] = [_add_lists, _add_of_a_run, _add_export, _add_conf]
