"""A long grid in slots beside bare mapped tasks: `python -m benchmarks.long [TRIALS [SLOTS]]`.

One Airflow runs a mapped task of Airflow's own that does nothing, then a grid of no-op trials, by
default 5,760 on 10 slots, then 64 one by one. What costs what is printed for every hundred trials:
wall and CPU seconds of a trial, CPU being that of every process below this one, and the memory of
scheduler and API server, as the kernel divides it among those that share it (PSS).
"""

from __future__ import annotations

import ctypes
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.overhead import PR_SET_CHILD_SUBREAPER, ROOT, cpu_s
from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.cli.embedded import Embedded
from hpo_lib.records import RunKey

_BARE, _EACH = 100, 100
_OF_AIRFLOW = ("airflow scheduler", "airflow api_server")


@dataclass(frozen=True)
class Seen:
    """How far a run is, what it has cost by then, and the memory of Airflow's two, in MiB."""

    trials: int
    at: float
    cpu: float
    memory: float


@contextmanager
def airflow(slots: int) -> Iterator[tuple[Airflow, sqlite3.Connection]]:
    """Run an Airflow of its own, with the bare DAGs and so many places, and open its store."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(ROOT / "dags", home / "dags")
        shutil.copy(ROOT / "benchmarks" / "dags" / "bare.py", home / "dags")
        embedded = Embedded(ROOT, home, {"AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")})
        try:
            client = embedded.up(print)
            embedded.airflow("pools", "set", "hpo_trials", str(max(slots, 6)), "for a benchmark")
            while not (client.is_ready("bare") and client.is_ready("bare_one")):
                time.sleep(1)
            with closing(sqlite3.connect(embedded.results / "hpo.db", timeout=60)) as store:
                yield client, store
        finally:
            embedded.down()


def main(trials: int = 5_760, slots: int = 10) -> None:
    """Print what each hundred trials cost, and the ratios to Airflow's own."""
    with airflow(slots) as (client, store):
        for parallel, count in ((slots, trials), (1, 64)):
            _side_by_side(client, store, count, parallel)


def _side_by_side(client: Airflow, store: sqlite3.Connection, count: int, parallel: int) -> None:
    bare = _bare(client, min(_BARE, count), parallel)
    print(f"bare mapped tasks, {parallel} at a time: {_each(bare)}", flush=True)
    ours = _ours(client, store, count, parallel)
    print(f"{count} trials in {parallel} slots: {_each(ours)}")
    for what, mine, theirs in zip(("wall", "CPU"), _cost(ours), _cost(bare), strict=True):
        print(f"  {what} a trial beside a bare task's: {mine / theirs:.2f}")
    if len(ours) > 4:  # the first hundred has the slots' start, what is after the last the report
        print(f"  second hundred: {_each(ours[1:3])}; last full one: {_each(ours[-3:-1])}")
    early = next((one for one in ours[1:] if one.trials >= _EACH), ours[-1])
    print(f"  memory at the end beside that after {early.trials} trials: ", end="")
    print(f"{ours[-1].memory / early.memory:.2f}", flush=True)


def _cost(seen: list[Seen]) -> tuple[float, float]:
    """Give wall and CPU seconds of a trial between the first and the last look."""
    first, last = seen[0], seen[-1]
    trials = last.trials - first.trials
    return (last.at - first.at) / trials, (last.cpu - first.cpu) / trials


def _each(seen: list[Seen]) -> str:
    wall, cpu = _cost(seen)
    return f"wall {wall:.3f} s, CPU {cpu:.3f} s a trial"


def _bare(client: Airflow, tasks: int, parallel: int) -> list[Seen]:
    """Run Airflow's own tasks, all of them, once to warm up."""
    conf = {"tasks": tasks, "parallel": parallel}
    for _ in range(2):
        first = _look(0)
        run_id = client.trigger("bare" if parallel > 1 else "bare_one", conf)
        while (state := client.state("bare" if parallel > 1 else "bare_one", run_id)) not in DONE:
            time.sleep(0.5)
        if state != "success":
            raise SystemExit(f"the bare DAG ended as {state}: nothing was measured")
    return [first, _look(tasks)]


def _ours(client: Airflow, store: sqlite3.Connection, count: int, parallel: int) -> list[Seen]:
    """Run a grid, and look at each hundred trials."""
    seen = [_look(0)]
    key = RunKey("hpo_local", client.trigger("hpo_local", _conf(count, parallel)))
    while (state := client.state(key.dag_id, key.dag_run_id)) not in DONE:
        time.sleep(0.5)
        ended = complete(store, key)
        if ended - seen[-1].trials >= _EACH:
            seen.append(_look(ended))
            print(f"  {ended}: {_each(seen[-2:])}, {seen[-1].memory:.0f} MiB", flush=True)
    ended = complete(store, key)
    if state != "success" or ended != count:
        raise SystemExit(f"hpo_local ended as {state} after {ended} trials: nothing was measured")
    return [*seen, _look(ended)] if ended > seen[-1].trials else seen


def complete(store: sqlite3.Connection, key: RunKey) -> int:
    """Count a run's complete trials, which costs next to nothing."""
    what = "SELECT count(*) FROM trials JOIN runs ON runs.id = run_id WHERE dag_run_id = ?"
    found = store.execute(f"{what} AND state = 'complete'", (key.dag_run_id,))
    return int(found.fetchone()[0])


def _conf(count: int, parallel: int) -> dict[str, object]:
    """Give a grid of at least so many points; the best of which is nowhere in particular."""
    axis = {"type": "int", "low": 1, "high": 20}
    return {
        "name": f"grid-{count}-{parallel}",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": dict.fromkeys(("a", "b", "c"), axis),
        "sampler": {"name": "grid"},
        "limits": {"max_trials": count, "parallel_trials": parallel},
        "trial": {"command": ["echo", "loss=${params.a}"], "args": []},
        "mode": "async",
    }


def _look(trials: int) -> Seen:
    return Seen(trials, time.monotonic(), cpu_s(), _memory())


def _memory() -> float:
    """Sum the memory of scheduler and API server, without the tasks that are forked of them."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            words = " ".join(process.cmdline())
            if any(one in words for one in _OF_AIRFLOW):
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
