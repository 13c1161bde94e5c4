"""`hpo audit`: who did what, from where and when, as the store has kept it."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hpo_lib.cli.console import opened_store
from hpo_lib.cli.tables import table
from hpo_lib.words import line, moment, utc

if TYPE_CHECKING:
    from hpo_lib.records.audit import AuditEntry

_FIELDS = ("time", "who", "where", "deed", "team", "experiment", "run", "details")
_WIDTH = 200


def audit(options: argparse.Namespace) -> int:
    """Show the audit trail, or one experiment's; 1 if there is none."""
    write = _csv if options.csv else _json if options.json else _text
    with opened_store(options) as store:
        found = write(store.audit.entries(options.experiment))
    return 0 if found else 1


def _text(entries: Iterable[AuditEntry]) -> int:
    rows = [
        [line(word, _WIDTH) for word in (moment(one.time), one.deed, _about(one), one.by, one.told)]
        for one in entries
    ]
    if not rows:
        print("nothing in the audit trail")
        return 0
    for text in table(("time", "deed", "about", "by", "details"), rows):
        print(text)
    return len(rows)


def _about(one: AuditEntry) -> str:
    return f"{one.experiment} run {one.run}".strip() if one.run else one.experiment


def _json(entries: Iterable[AuditEntry]) -> int:
    """Write a JSON object a line."""
    found = 0
    for one in entries:
        found += 1
        print(json.dumps(_plain(one)))
    return found


def _csv(entries: Iterable[AuditEntry]) -> int:
    from hpo_lib.report.sheet import cell

    out, found = csv.writer(sys.stdout, lineterminator="\n"), 0
    out.writerow(_FIELDS)
    for one in entries:
        found += 1
        plain = _plain(one) | {"details": json.dumps(dict(one.details))}
        out.writerow([cell(plain[name]) for name in _FIELDS])
    return found


def _plain(one: AuditEntry) -> dict[str, Any]:
    plain = {name: getattr(one, name) for name in _FIELDS}
    return plain | {"time": utc(one.time).isoformat(), "details": dict(one.details)}


def _add_audit(commands: Any) -> None:
    parser = commands.add_parser(
        "audit",
        help="show who did what, from where and when",
        description="Show the audit trail: who did what, from where and when, the oldest first.",
        epilog="example: hpo audit churn --csv > churn.csv",
    )
    parser.add_argument("experiment", nargs="?", metavar="EXPERIMENT")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line")
    form.add_argument("--csv", action="store_true", help="for a spreadsheet")
    parser.add_argument("--url", help="the store's address (default: HPO_STORE)")
    parser.set_defaults(run=audit)


COMMANDS: list[Callable[[Any], None]] = [_add_audit]
