"""What the page of a run draws, what is advised there, and its report: here, or apart.

An API server goes on for weeks, and is to keep neither the libraries that reckon importance nor
the records of ten thousand trials in its memory: it has them made by another process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from threading import Lock

from hpo_lib.errors import TransientError
from hpo_lib.runs.forms import environment
from hpo_lib.store import Store

_PATIENCE_S = 300.0
_ONE = Lock()


def charts(store: Store, run_id: int) -> str:
    """Give what a run's charts are drawn from, as `report.data` makes it."""
    from hpo_lib.report import data, looked_at

    return data.text_of(data.data_of(store.view(run_id, looked_at)))


def advice(store: Store, run_id: int) -> str:
    """Say what a run's trials advise: seconds of CPU, and 200 MB of libraries."""
    from hpo_lib.cli.advising import advice_of
    from hpo_lib.records import Looked

    return advice_of(store.view(run_id, lambda _: Looked())).model_dump_json()


def report(store: Store, run_id: int) -> str:
    """Write the report as it is now, with all that there is to say."""
    from hpo_lib.report import looked_at, with_importance

    return with_importance(store.view(run_id, looked_at))


_KNOWN: Mapping[str, Callable[[Store, int], str]] = {
    "charts": charts,
    "advice": advice,
    "report": report,
}


def made_apart(store: Store, what: str, run_id: int) -> tuple[str, float]:
    """Have one of these made by a process of its own: the text, and its seconds of CPU.

    One at a time, so that their memory is bounded; TransientError if it cannot be made now.
    """
    asked = {"url": store.address, "what": what, "run": run_id}
    try:
        with _ONE:
            done = subprocess.run(  # noqa: S603 - this module
                [sys.executable, "-P", "-m", __name__],
                input=json.dumps(asked),
                capture_output=True,
                check=False,
                text=True,
                encoding="utf-8",
                timeout=_PATIENCE_S,
                env=environment(),
            )
    except subprocess.TimeoutExpired:
        told = f"the {what} of run {run_id} took more than {_PATIENCE_S:.0f} s"
        raise TransientError(told) from None
    if done.returncode:
        said = "".join(done.stderr.strip().splitlines()[-1:])
        raise TransientError(f"the {what} of run {run_id} cannot be made now: {said}")
    took, _, text = done.stdout.partition("\n")
    return text, float(took)


def _answer(asked: Mapping[str, str | int]) -> str:
    with Store.open(str(asked["url"])) as store:
        text = _KNOWN[str(asked["what"])](store, int(asked["run"]))
    return f"{time.process_time():.3f}\n{text}"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(_answer(json.load(sys.stdin)))
