"""The store under load: 8 processes write 2,000 trials, each from suggestion to result.

Each process plays a run of its own, wave by wave, as the tasks of a run do; like them it tries
again when the store is busy. CPU seconds are those of the processes, without PostgreSQL's own. In
the end all is counted: nothing is there twice, nothing is lost. Run it in another checkout, too.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from hpo_lib.core.trial import Assignment
from hpo_lib.errors import TransientError
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState, Outcome, Provenance, Run, RunKey
from hpo_lib.runs.lifecycle import next_wave
from hpo_lib.spec import load
from hpo_lib.store import Store, upgrade

T = TypeVar("T")
WRITERS, TRIALS, WAVE = 8, 2_000, 5
SPEC = {
    "name": "writers",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
    "limits": {"max_trials": TRIALS, "parallel_trials": WAVE},
    "trial": {"command": ["true"]},
}


def main() -> None:
    """Print CPU per trial on SQLite, and on the empty PostgreSQL database that HPO_STORE names."""
    with tempfile.TemporaryDirectory() as folder:
        report("SQLite", f"sqlite:///{folder}/hpo.db")
    if url := os.environ.get("HPO_STORE"):
        report("HPO_STORE", url)


def report(name: str, url: str) -> None:
    """Let the writers write and print what it took."""
    upgrade(url)
    wall, cpu = measure(url, TRIALS)
    print(f"{name:<10} {1000 * cpu / TRIALS:.1f} ms of CPU per trial, {wall:.0f} s in all")


def measure(url: str, trials: int, writers: int = WRITERS) -> tuple[float, float]:
    """Write trials by several processes at once; gives seconds, and CPU seconds of them all."""
    context = get_context("fork")
    with Store.open(url) as store:
        runs = [begin(store, f"run-{index}") for index in range(writers)]
    before, began = children_cpu_s(), time.monotonic()
    waves = trials // writers // WAVE
    processes = [context.Process(target=write, args=(url, run, waves)) for run in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    wall, cpu = time.monotonic() - began, children_cpu_s() - before
    if any(process.exitcode for process in processes):
        raise SystemExit("a writer failed: nothing was measured")
    check(url, runs, waves * WAVE)
    return wall, cpu


def begin(store: Store, name: str) -> Run:
    """Start a run."""
    key, provenance = RunKey("benchmark", name), Provenance(versions={})
    return store.start_run(key, load(SPEC), triggered_by="benchmark", provenance=provenance)


def write(url: str, run: Run, waves: int) -> None:
    """Play so many waves of a run."""
    installation = Installation(Path(), {})
    with Store.open(url) as store:
        for wave in range(1, waves + 1):
            batch = patiently(partial(next_wave, store, run.key, wave, installation))
            for one in batch.assignments:
                patiently(partial(finish, store, run.id, one))


def patiently(work: Callable[[], T]) -> T:
    """Do something again until the store is not too busy for it."""
    while True:
        try:
            return work()
        except TransientError:
            continue


def finish(store: Store, run: int, asked: Assignment) -> None:
    """Begin and end an attempt of a trial."""
    attempt = store.open_attempt(run, asked.trial, lambda number: {"name": f"attempt-{number}"})
    value = float(asked.params["x"])
    done = Outcome(AttemptState.SUCCEEDED, "done", value, metrics={"loss": value}, exit_code=0)
    store.close_attempt(attempt.id, done, final=True)


def check(url: str, runs: list[Run], each: int) -> None:
    """Count what is in the store: each trial once, complete, with one attempt and its value."""
    with Store.open(url) as store:
        for run in runs:
            view = store.view(run.id)
            values = Counter(one.trial.value for one in view.trials)
            attempts = Counter(len(one.attempts) for one in view.trials)
            if len(values) != each or attempts != {1: each} or None in values:
                raise SystemExit(f"run {run.id}: {len(values)} results and {attempts} attempts")


def children_cpu_s() -> float:
    """Give the CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
