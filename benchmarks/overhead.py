"""What this project adds to Airflow: 40 no-op trials in 10 waves of 4, beside a plain DAG.

One Airflow runs both DAGs in turn. CPU time is that of every process below this one, the ended
ones included (orphans come to us as their reaper). Ratios are taken pair by pair.
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

from hpo_lib.embedded import Embedded
from hpo_lib.remote import DONE, Airflow

ROOT = Path(__file__).resolve().parents[1]
PAIRS, TRIALS = 3, 40
_PR_SET_CHILD_SUBREAPER = 36

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
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copy(ROOT / "benchmarks" / "dags" / "plain.py", ROOT / "dags" / "_plain.py")
        embedded = Embedded(ROOT, home, {})
        try:
            client = embedded.up(print)
            while not client.is_ready("plain"):
                time.sleep(1)
            compare(client)
        finally:
            (ROOT / "dags" / "_plain.py").unlink()
            embedded.down()


def compare(client: Airflow) -> None:
    """Run both in turn, once to warm up."""
    ours, plain = [], []
    for pair in range(PAIRS + 1):
        measured = measure(client, "plain", {}), measure(client, "hpo_local", CONF)
        if pair:
            plain.append(measured[0])
            ours.append(measured[1])
    for index, what in enumerate(("wall", "CPU")):
        ratio = statistics.median(o[index] / p[index] for o, p in zip(ours, plain, strict=True))
        mine = statistics.median(o[index] for o in ours) / TRIALS
        peer = statistics.median(p[index] for p in plain) / TRIALS
        print(f"{what:<5} per trial: ours {mine:.3f} s, plain {peer:.3f} s, ratio {ratio:.2f}")


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
