"""The `hpo` command: its parser, and what each subcommand exits with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hpo_lib import __version__
from hpo_lib.cli import (
    airflow,
    audit,
    completion,
    contexts,
    exporting,
    init,
    metrics,
    models,
    own_airflow,
    plan,
    rehearsal,
    remote_commands,
    store,
    try_spec,
)
from hpo_lib.cli.console import complain, moving, remark
from hpo_lib.cli.umask import DEFAULT, umask, umasked
from hpo_lib.errors import HpoError

#: The exit codes by which a shell reports SIGINT and SIGPIPE.
_INTERRUPTED, _UNHEARD = 130, 141
#: These show by themselves that they go on, ask at the terminal, or print as they go.
_OWN_WAYS = {
    "audit", "completion", "context", "demo", "init", "log", "nights", "run", "try", "up", "watch",
}  # fmt: skip

#: Each adds a parser, and sets its `run`, which takes the options and gives the exit code.
COMMANDS: list[Callable[[Any], None]] = [
    *init.COMMANDS,
    *try_spec.COMMANDS,
    *plan.COMMANDS,
    *metrics.COMMANDS,
    *models.COMMANDS,
    *audit.COMMANDS,
    *airflow.COMMANDS,
    *remote_commands.COMMANDS,
    *exporting.COMMANDS,
    *contexts.COMMANDS,
    *store.COMMANDS,
    *own_airflow.COMMANDS,
    *rehearsal.COMMANDS,
    *completion.COMMANDS,
]


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="hpo",
        description="Hyperparameter tuning on Apache Airflow.",
        epilog="example: hpo plan config/experiments/digits.yaml",
    )
    top.add_argument("--version", action="version", version=f"hpo {__version__}")
    remote_commands.add_where(top)
    commands = top.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    for add in COMMANDS:
        add(commands)
    return top


class _Parser(argparse.ArgumentParser):
    """Takes words of a list also where options stand between them, which argparse does not."""

    def __init__(self, *args: Any, words_between: str | None = None, **settings: Any) -> None:
        """Take the name of the list, if there is one."""
        super().__init__(*args, **settings)
        self._list = words_between

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Put words that nothing has taken into the list; what looks like an option is left."""
        found, rest = super().parse_known_args(args, namespace)
        if self._list is None:
            return found, rest
        words = [word for word in rest if not word.startswith("-")]
        setattr(found, self._list, [*getattr(found, self._list), *words])
        return found, [word for word in rest if word.startswith("-")]


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
        known = parser()
        completion.complete(known)
        options = known.parse_args(arguments)
        with _closed(), _patient(str(options.command)):
            return int(options.run(options))
    except HpoError as error:
        return complain(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        # Here a closed pipe can still be told from what else goes wrong.
        print(end="", flush=True)


def _closed() -> AbstractContextManager[None]:
    """Write for the owner alone below this folder's own; elsewhere only if that is said."""
    said = os.environ.get("HPO_UMASK")
    if said is None and "HPO_HOME" in os.environ:
        return nullcontext()
    return umasked(umask(said or DEFAULT))


def _patient(command: str) -> AbstractContextManager[Any]:
    """Show on stderr that a command which takes its time goes on."""
    if command in _OWN_WAYS:
        return nullcontext()
    return moving(f"hpo {command}", remark)


def _be_silent() -> None:
    """Send all further output to nowhere, so that Python does not complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
