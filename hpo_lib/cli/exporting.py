"""`hpo export --to` and `hpo tensorboard`: runs in the forms of other tools, from the store."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli import tables
from hpo_lib.cli.console import home, opened_store
from hpo_lib.errors import NotFound, SpecError

if TYPE_CHECKING:
    from hpo_lib.store import Store


def export(options: argparse.Namespace) -> int:
    """Bring a run, the newest if none is named, to where another tool reads it."""
    if options.output is None:
        raise SpecError(f"--to {options.to}: needs -o, which says where to")
    numbers = [] if options.number is None else [options.number]
    return _export(options, options.to, str(options.output), numbers)


def tensorboard(options: argparse.Namespace) -> int:
    """Write runs, the newest if none is named, to where TensorBoard reads them."""
    target = str(options.output or home() / "tensorboard")
    return _export(options, "tensorboard", target, options.numbers)


def _export(options: argparse.Namespace, to: str, target: str, numbers: list[int]) -> int:
    from hpo_lib.registry import load
    from hpo_lib.runs.exports import exported

    exporter = load("exporter", to)(target)
    with opened_store(options) as store:
        for number in numbers or [_newest(store)]:
            where = exporter.export(exported(store, number))
            tables.show({"run": number, "exported": where}, [where], as_json=options.json)
    return 0


def _newest(store: Store) -> int:
    for run in store.runs(limit=1):
        return run.id
    raise NotFound("there is no run yet")


def _add_tensorboard(commands: Any) -> None:
    parser = commands.add_parser(
        "tensorboard",
        help="write runs so that TensorBoard shows them",
        description=(
            "Write scalars per trial, and the HParams table with its parallel coordinates, so that "
            "`tensorboard --logdir FOLDER` shows them. Runs that are there already are written "
            "anew, others stay. TensorBoard is not needed for that."
        ),
        epilog="example: hpo tensorboard 12 13 -o boards",
    )
    parser.add_argument(
        "numbers", metavar="RUN", nargs="*", type=int, help="numbers of runs (default: the newest)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="(default: tensorboard in HPO_HOME)"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=tensorboard)


COMMANDS: list[Callable[[Any], None]] = [_add_tensorboard]
