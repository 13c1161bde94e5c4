"""The commands about metrics: `hpo check-metrics` tries a collector, `hpo collect` reads again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.console import home, opened_store, say, user
from hpo_lib.cli.spec_file import read
from hpo_lib.registry import FORMATS

if TYPE_CHECKING:
    from hpo_lib.installation import Installation
    from hpo_lib.records import Run
    from hpo_lib.trials.recollect import Reread

_SETTINGS = ("collector", "format", "path")


def check_metrics(options: argparse.Namespace) -> int:
    """Show what the spec's collector reads of a log or folder; 1 if the trial would fail."""
    from hpo_lib.trials.check_metrics import examine, page, source_at
    from hpo_lib.trials.outcome import with_metrics

    spec = with_metrics(read(options.spec), settings(options))
    source, spec = source_at(options.source, spec)
    found = examine(spec, source)
    by = f", format {found.format}" if found.format else ""
    say(f"{options.source} by collector {spec.metrics.collector}{by}")
    say("\n".join(page(found)))
    return 0 if found.cause is None else 1


def collect(options: argparse.Namespace) -> int:
    """Read a run's metrics again; 1 if a trial is still without its objective."""
    from hpo_lib.runs.outputs import write_report
    from hpo_lib.trials.recollect import recollect

    with opened_store(options) as store:
        run = store.run_by_id(options.number)
        installation = _installation(run)
        run, found = recollect(
            store,
            run,
            installation,
            settings(options),
            everything=options.all,
            by=user(),
        )
        for one in found:
            say(_told(one))
        say(f"run {run.id} of {run.experiment}: {run.outcome} ({run.reason or 'running'})")
        say(f"report: {write_report(store, run, installation)}")
    return 1 if any(one.read.cause is not None for one in found) else 0


def _told(one: Reread) -> str:
    changed = one.before != one.after
    if one.read.cause is not None:
        return f"trial {one.before.number}: left as it was; {one.read.reason}"
    return f"trial {one.before.number}: {'' if changed else 'as before: '}{one.read.reason}"


def _installation(run: Run) -> Installation:
    """Offer what a shell can reach: this machine's disk, and the run's artifacts."""
    from hpo_lib.cli.without_airflow import own_artifacts
    from hpo_lib.installation import Installation

    return Installation(home(), {}, artifacts=own_artifacts(run))


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
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)}; or a regular expression with the groups name and value",
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
        epilog=("example: hpo check-metrics my.yaml train.log, or with --format keras"),
    )
    parser.add_argument("spec", metavar="SPEC", type=Path, help="a spec in YAML or JSON")
    parser.add_argument(
        "source",
        metavar="LOGFILE",
        type=Path,
        help="a log or a metrics file; or the folder of an attempt, or its output folder",
    )
    _add_settings(parser)
    parser.set_defaults(run=check_metrics)


def _add_collect(commands: Any) -> None:
    parser = commands.add_parser(
        "collect",
        help="read a run's metrics again, without training",
        description=(
            "Read again, from the logs and outputs that were kept, the trials of a run whose "
            "objective was missing or not finite, correct the store and write the report anew. "
            "Nothing is trained. In Airflow, clear the failed tasks afterwards: they find their "
            "trials complete. Exit code 1 if a trial is still without its objective."
        ),
        epilog="example: hpo collect 12 --format keras",
    )
    parser.add_argument("number", metavar="RUN", type=int, help="the run's number in the store")
    parser.add_argument("--all", action="store_true", help="read complete trials again too")
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    _add_settings(parser)
    parser.set_defaults(run=collect)


COMMANDS: list[Callable[[Any], None]] = [_add_check_metrics, _add_collect]
