"""The commands about metrics: `hpo check-metrics` shows what a collector reads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo_lib.examine import examine, page, source_at, with_metrics
from hpo_lib.specfile import read

_SETTINGS = ("collector", "format", "path")


def check_metrics(options: argparse.Namespace) -> int:
    """Show what the spec's collector reads of a log or folder; 1 if the trial would fail."""
    spec = with_metrics(read(options.spec), settings(options))
    source, spec = source_at(options.source, spec)
    found = examine(spec, source)
    print(f"{options.source} by collector {spec.metrics.collector}")
    print("\n".join(page(found)))
    return 0 if found.cause is None else 1


def settings(options: argparse.Namespace) -> dict[str, str]:
    """Give the metrics settings that the command line replaces."""
    given = {name: getattr(options, name) for name in _SETTINGS}
    return {name: value for name, value in given.items() if value is not None}


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how metrics are read, instead of what the spec says")
    group.add_argument(
        "--collector", metavar="NAME", help="stdout, file, jsonl, tfevents, xcom or your own"
    )
    group.add_argument(
        "--format",
        metavar="REGEX",
        help="regular expression with the groups name and value (stdout, file)",
    )
    group.add_argument(
        "--path", metavar="PATH", help="file or folder in the output folder (file, jsonl, tfevents)"
    )


def _add_check_metrics(commands: Any) -> None:
    parser = commands.add_parser(
        "check-metrics",
        help="show what a collector reads of a log",
        description=(
            "Show which metrics the spec's collector reads of a log, what a trial would get of "
            "them, and what looks like a metric but is passed over. Exit code 1 if a trial with "
            "these metrics would fail."
        ),
        epilog=(
            r"example: hpo check-metrics my.yaml train.log --format '(?P<name>\w+): (?P<value>\S+)'"
        ),
    )
    parser.add_argument("spec", metavar="SPEC", help="a spec in YAML or JSON")
    parser.add_argument(
        "source",
        metavar="LOGFILE",
        type=Path,
        help="a log or a metrics file; or the folder of an attempt, or its output folder",
    )
    _add_settings(parser)
    parser.set_defaults(run=check_metrics)


COMMANDS: list[Callable[[Any], None]] = [_add_check_metrics]
