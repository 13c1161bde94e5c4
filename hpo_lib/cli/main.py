"""The `hpo` command: its parser, and what each subcommand exits with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hpo_lib import __version__
from hpo_lib.cli import airflow, metrics, models, plan, rehearsal, store
from hpo_lib.cli.console import complain
from hpo_lib.errors import HpoError

_INTERRUPTED = 130

#: Each adds a parser to the subcommands and sets `run`, which takes the options, gives the code.
COMMANDS: list[Callable[[Any], None]] = [
    *plan.COMMANDS,
    *metrics.COMMANDS,
    *models.COMMANDS,
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
    """Run a command; 0 is good, 2 what the user has to correct, 1 any other failure."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except HpoError as error:
        return complain(error)
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
