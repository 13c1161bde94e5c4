"""The `hpo` command: its parser, and what each subcommand exits with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hpo_lib import __version__
from hpo_lib.cli import airflow, audit, metrics, models, plan, rehearsal, store
from hpo_lib.cli.console import complain
from hpo_lib.cli.umask import DEFAULT, umask, umasked
from hpo_lib.errors import HpoError

#: The exit codes by which a shell reports SIGINT and SIGPIPE.
_INTERRUPTED, _UNHEARD = 130, 141

#: Each adds a parser, and sets its `run`, which takes the options and gives the exit code.
COMMANDS: list[Callable[[Any], None]] = [
    *plan.COMMANDS,
    *metrics.COMMANDS,
    *models.COMMANDS,
    *audit.COMMANDS,
    *airflow.COMMANDS,
    *store.COMMANDS,
    *rehearsal.COMMANDS,
]


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="hpo",
        description="Hyperparameter tuning on Apache Airflow.",
        epilog="example: hpo plan config/experiments/digits.yaml",
    )
    top.add_argument("--version", action="version", version=f"hpo {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 is good, 2 what the user has to correct, 1 any other failure.

    A reader that has had enough, such as `head`, ends it with 141.
    """
    try:
        return _run(arguments)
    except BrokenPipeError:
        _be_silent()
        return _UNHEARD


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = parser().parse_args(arguments)
        with _closed():
            return int(options.run(options))
    except HpoError as error:
        return complain(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        # Here a closed pipe can still be told from what else goes wrong.
        print(end="", flush=True)


def _closed() -> AbstractContextManager[None]:
    """Write for the owner alone below the checkout's own folder; elsewhere only if that is said."""
    said = os.environ.get("HPO_UMASK")
    if said is None and "HPO_HOME" in os.environ:
        return nullcontext()
    return umasked(umask(said or DEFAULT))


def _be_silent() -> None:
    """Send all further output to nowhere, so that Python does not complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
