"""What 10,000 trials cost others on their Airflow: `python -m benchmarks.neighbours [TRIALS]`.

Somebody has the run's page open, and its report is rewritten as its trials end. At a tenth of its
trials and at nine tenths a DAG run of one task that does nothing is triggered ten times, and the
CPU of the scheduler's own process is read: neither may grow with the trials that have ended.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from statistics import median

import psutil
import requests

from benchmarks.long import airflow, complete
from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.records import RunKey

_TIMES, _SLOTS, _LOOKS_S = 10, 4, 5.0
_SHOWN = ("", "/charts", "/table?sort=-value")


def main(trials: int = 10_000) -> None:
    """Print both, with nothing else on Airflow, at a tenth of the trials and at nine tenths."""
    with airflow(_SLOTS) as (client, store):
        _passed(client)  # to warm up
        print(f"alone: a DAG run of one task takes {_passed(client):.2f} s", flush=True)
        _beside(client, store, trials)


def _beside(client: Airflow, store: sqlite3.Connection, trials: int) -> None:
    """Run the trials, and look at others' DAG runs twice."""
    key = RunKey("hpo_local", client.trigger("hpo_local", _conf(trials)))
    over, seen = threading.Event(), Counter[int]()
    viewer = threading.Thread(target=_looks, args=(client, over, seen), daemon=True)
    viewer.start()
    for share in (0.1, 0.9):
        while complete(store, key) < share * trials:
            if client.state(key.dag_id, key.dag_run_id) in DONE:
                raise SystemExit("the run has ended early: nothing was measured")
            time.sleep(1)
        before, began, cpu = complete(store, key), time.monotonic(), _scheduler_s()
        took = _passed(client)
        spent, passed = _scheduler_s() - cpu, time.monotonic() - began
        done = complete(store, key) - before
        print(
            f"after {before} trials: a DAG run of one task takes {took:.2f} s; the scheduler's CPU "
            f"is {spent / passed:.3f} of a core; {done / passed:.1f} trials a second",
            flush=True,
        )
    over.set()
    viewer.join()
    print(f"the page was answered with {dict(seen)}")
    if not seen or set(seen) - {200, 304}:
        raise SystemExit("nobody has looked at the run: nothing was measured")


def _passed(client: Airflow) -> float:
    """Give the median seconds that a DAG run of one task takes, as Airflow has it."""
    took = []
    for _ in range(_TIMES):
        began = time.monotonic()
        run_id = client.trigger("bare_one", {"tasks": 1, "parallel": 1})
        while client.state("bare_one", run_id) not in DONE:
            time.sleep(0.1)
        took.append(time.monotonic() - began)
    return median(took)


def _looks(client: Airflow, over: threading.Event, seen: Counter[int]) -> None:
    """Ask what the page of the first run asks, as often, and count the answers by status."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {client.login()}"
    tags: dict[str, str] = {}
    while not over.wait(_LOOKS_S):
        for what in _SHOWN:
            with suppress(requests.RequestException):
                address = f"{client.url}/hpo/api/v1/runs/1{what}"
                headers = {"If-None-Match": tags[what]} if what in tags else {}
                answer = session.get(address, headers=headers, timeout=60)
                seen[answer.status_code] += 1
                tags[what] = answer.headers.get("ETag", "")


def _scheduler_s() -> float:
    """Sum the CPU seconds of the scheduler's own process, without its workers."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "airflow scheduler" in " ".join(process.cmdline()):
                times = process.cpu_times()
                return float(times.user + times.system)
    raise SystemExit("there is no scheduler")


def _conf(trials: int) -> dict[str, object]:
    """Give trials that do nothing, at random points."""
    axis = {"type": "float", "low": 0.0, "high": 1.0}
    return {
        "name": "neighbours",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": dict.fromkeys(("a", "b", "c", "d"), axis),
        "sampler": {"name": "random", "seed": 0},
        "limits": {"max_trials": trials, "parallel_trials": _SLOTS},
        "trial": {"command": ["echo", "loss=${params.a}"], "args": []},
        "mode": "async",
    }


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
