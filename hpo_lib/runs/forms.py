"""The forms of a report: for a spreadsheet, for programs, for pandas, and the page."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator

from hpo_lib.records import RunView
from hpo_lib.runs import apart

#: The page last: who sees it finds the others, too.
FORMS = ("trials.csv", "report.json", "trials.parquet", "report.html")
_PATIENCE_S = 900.0


def made(view: RunView) -> Iterator[tuple[str, bytes]]:
    """Give the files of a report, by name; Parquet where its packages are installed."""
    from hpo_lib import report
    from hpo_lib.frames import made, table

    yield "trials.csv", report.csv(view).encode()
    yield "report.json", report.json(view).encode()
    if table.writes_parquet():
        yield "trials.parquet", table.parquet(made.trials([view]))
    yield "report.html", report.with_importance(view).encode()


def made_apart(view: RunView) -> Iterable[tuple[str, bytes]]:
    """Give the same, made by another process; TransientError if it fails or takes 15 minutes."""
    found: list[tuple[str, bytes]] = pickle.loads(  # noqa: S301 - of our own process
        apart.answer(__name__, pickle.dumps(view), "the report", _PATIENCE_S)
    )
    return found


if __name__ == "__main__":
    asked = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - of the process that began this one
    sys.stdout.buffer.write(pickle.dumps(list(made(asked))))
