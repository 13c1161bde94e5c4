"""What the page of a run draws, what is advised there, and its report: here, or apart.

An API server goes on for weeks, and is to keep neither the libraries that reckon importance nor
the records of ten thousand trials in its memory: it has them made by another process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from threading import Lock

from hpo_lib.runs import apart
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
    with _ONE:
        said = apart.answer(
            __name__, json.dumps(asked).encode(), f"the {what} of run {run_id}", _PATIENCE_S
        )
    took, _, text = said.decode().partition("\n")
    return text, float(took)


def _answer(asked: Mapping[str, str | int]) -> str:
    with Store.open(str(asked["url"])) as store:
        text = _KNOWN[str(asked["what"])](store, int(asked["run"]))
    return f"{time.process_time():.3f}\n{text}"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(_answer(json.load(sys.stdin)))
