"""What a slot's turn costs beside the length of its run: `python -m benchmarks.slots [TRIALS …]`.

No Airflow, and a trial that does nothing: what is measured is asking, leasing and recording, by
four slots that ask in turn, over the last fifty trials of a run of so many of a grid. The trials
before them are written into the store as they would be there. CPU time per trial, of this process.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.space import key
from hpo_lib.core.trial import History
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState, Outcome, Provenance, RunKey
from hpo_lib.runs.slots import Asking, name_of
from hpo_lib.search import suggesting
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade
from hpo_lib.store.schema import attempts, leases, trials

_KEY = RunKey("hpo_local", "benchmark")
_SLOTS, _TIMED = 4, 50


def main(sizes: Sequence[int] = (100, 1_000, 5_760, 20_000)) -> None:
    """Print a line for each size."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            cost_ms = _cost_ms(size, Path(folder))
        print(f"{size:>7} trials: {cost_ms:.1f} ms CPU a trial", flush=True)


def _cost_ms(size: int, folder: Path) -> float:
    url = f"sqlite:///{folder}/hpo.db"
    upgrade(url)
    with Store.open(url, keep_open=True) as store:
        asking = _begun(store, size, folder)
        for one in asking:  # which reads what is there
            _play(store, one)
        begun = time.process_time()
        for number in range(_TIMED):
            _play(store, asking[number % _SLOTS])
        return (time.process_time() - begun) / _TIMED * 1_000


def _begun(store: Store, size: int, folder: Path) -> list[Asking]:
    spec = load(
        {
            "name": "grid",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {name: {"type": "int", "low": 1, "high": 60} for name in ("a", "b", "c")},
            "sampler": {"name": "grid"},
            "limits": {"max_trials": size, "parallel_trials": _SLOTS},
            "mode": "async",
            "trial": {"command": ["true"]},
        }
    )
    run = store.start_run(_KEY, spec, triggered_by="benchmark", provenance=Provenance())
    before = size - _TIMED - _SLOTS
    suggested = suggesting.suggest(suggesting.search(spec), History(), before)
    _write(store, run.id, [dict(one.params) for one in suggested])
    backend = LocalBackend(home=folder, workdir=folder, path="", grace_s=60.0)
    here = Installation(folder, {"local": lambda: backend})
    return [Asking(store, _KEY, slot, here) for slot in range(1, _SLOTS + 1)]


def _write(store: Store, run_id: int, configurations: list[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    shared = {"run_id": run_id, "created_at": now}
    rows: tuple[list[dict[str, Any]], ...] = ([], [], [])
    for number, params in enumerate(configurations, 1):
        place = {"slot": name_of(number % _SLOTS + 1), "position": number}
        rows[0].append(
            shared
            | place
            | {"number": number, "params": params, "params_hash": key(params)}
            | {"origin": "sampler", "state": "complete", "value": 1.0, "metrics": {"loss": 1.0}}
            | {"reason": "well", "started_at": now, "ended_at": now}
        )
        rows[1].append(shared | place | {"trial": number})
        rows[2].append(
            {"run_id": run_id, "trial": number, "number": 1, "handle": {}, "state": "succeeded"}
            | {"reason": "well", "started_at": now, "ended_at": now, "log_tail": ""}
        )
    with store.slots.database.write() as connection:
        for table, found in zip((trials, leases, attempts), rows, strict=True):
            connection.execute(table.insert(), found)


def _play(store: Store, asking: Asking) -> None:
    given = asking.take_turn().assignment
    if given is None:
        raise RuntimeError("a slot was given nothing")
    run = store.run(_KEY)
    attempt = store.open_attempt(run.id, given.trial, lambda _: {})
    well = Outcome(AttemptState.SUCCEEDED, "well", value=1.0, metrics={"loss": 1.0})
    store.close_attempt(attempt.id, well, final=True)


if __name__ == "__main__":
    main(*[[int(word) for word in sys.argv[1:]]] if sys.argv[1:] else [])
