"""What this project adds to Airflow: 40 no-op trials in 10 waves of 4, beside a plain DAG.

One Airflow runs in turn the plain DAG, ours with as many waves, and ours with 4 slots, which work
in waves or without. CPU time is that of every process below this one, the ended ones included
(orphans come to us as their reaper). Ratios are taken round by round.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.cli.embedded import Embedded

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, TRIALS = 3, 40
#: Each DAG, and the mode of its run.
SHAPES = (
    ("plain", ""),
    ("hpo_local_waves", "waves"),
    ("hpo_local", "waves"),
    ("hpo_local", "async"),
)
PR_SET_CHILD_SUBREAPER = 36

CONF = {
    "name": "no-op",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random"},
    "limits": {"max_trials": TRIALS, "parallel_trials": 4},
    "trial": {"command": ["echo", "loss=${params.x}"], "args": []},
}


def main() -> None:
    """Print wall and CPU seconds per trial of both, and their ratios."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        dags = home / "dags"
        shutil.copytree(ROOT / "dags", dags / "dags")
        (dags / "config").symlink_to(ROOT / "config")
        shutil.copy(ROOT / "benchmarks" / "dags" / "peers.py", dags / "dags")
        embedded = Embedded(ROOT, home, {"AIRFLOW__CORE__DAGS_FOLDER": str(dags / "dags")})
        try:
            client = embedded.up(print)
            while not all(client.is_ready(dag_id) for dag_id, _ in SHAPES):
                time.sleep(1)
            compare(client)
        finally:
            embedded.down()


def compare(client: Airflow) -> None:
    """Run all in turn, once to warm up, and print medians and ratios to the plain DAG."""
    rounds = [
        [measure(client, dag_id, conf_of(mode)) for dag_id, mode in SHAPES]
        for _ in range(ROUNDS + 1)
    ][1:]
    for place, shape in enumerate(SHAPES):
        for index, what in enumerate(("wall", "CPU")):
            each = statistics.median(r[place][index] for r in rounds) / TRIALS
            ratio = statistics.median(r[place][index] / r[0][index] for r in rounds)
            print(f"{' '.join(shape):<22} {what:<5} {each:.3f} s per trial, ratio {ratio:.2f}")


def conf_of(mode: str) -> dict[str, object]:
    """Give what a DAG is triggered with; nothing for one that is not ours."""
    return CONF | {"mode": mode} if mode else {}


def measure(client: Airflow, dag_id: str, conf: dict[str, object]) -> tuple[float, float]:
    """Run a DAG; gives wall seconds from start to end and CPU seconds of everything."""
    before = cpu_s()
    began = time.monotonic()
    run_id = client.trigger(dag_id, conf)
    while (state := client.state(dag_id, run_id)) not in DONE:
        time.sleep(0.5)
    wall = time.monotonic() - began
    if state != "success":
        raise SystemExit(f"{dag_id} ended as {state}: nothing was measured")
    time.sleep(2)
    return wall, cpu_s() - before


def cpu_s() -> float:
    """Sum the CPU time of all descendants, living or ended."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)
                continue
            total += sum(process.cpu_times()[:4])
        except (psutil.Error, ChildProcessError):
            continue
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total + used.ru_utime + used.ru_stime
