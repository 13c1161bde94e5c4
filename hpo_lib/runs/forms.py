"""The forms of a report: for a spreadsheet, for programs, for pandas, and the page.

Made here, or in a process of their own: a slot goes on for days, and is to keep neither pandas nor
the page of ten thousand trials in its memory.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpo_lib.errors import HpoError
from hpo_lib.records import RunView

#: The page last: who sees it finds the others, too.
FORMS = ("trials.csv", "report.json", "trials.parquet", "report.html")
_PATIENCE_S = 900.0
#: The folder from which this package is imported.
ROOT = Path(__file__).parents[2]


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
    """Give the same, made by another process; HpoError if that fails or takes 15 minutes."""
    try:
        done = subprocess.run(  # noqa: S603 - this module
            [sys.executable, "-P", "-m", __name__],
            input=pickle.dumps(view),
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise HpoError(f"writing the report takes more than {_PATIENCE_S:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise HpoError(f"writing the report ended with code {done.returncode}: {''.join(said)}")
    found: list[tuple[str, bytes]] = pickle.loads(done.stdout)  # noqa: S301 - of our own process
    return found


def environment() -> dict[str, str]:
    """Give the environment of a process that runs a module of this package."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


if __name__ == "__main__":
    asked = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - of the process that began this one
    sys.stdout.buffer.write(pickle.dumps(list(made(asked))))
