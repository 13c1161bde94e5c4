"""What a template saves: trials that it forks beside trials that import their libraries themselves.

The program is `docker/trial/train.py` on digits, which besides says what its `fit` alone has cost.
CPU is that of all processes, guards, keepers and the template's own imports included. Libraries
should be there as byte code, as pip leaves them: an import that compiles them anew costs three
times as much, which a template saves, too.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hpo_lib.backends import AttemptName, Request
from hpo_lib.backends import local_fork as templates
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.ending import Exit

ROOT = Path(__file__).parent.parent
TRIALS, EPOCHS, PARALLEL = 12, 5, 4
STORE, LONG_S, LOOK_S = "0123456789ab", 36_000.0, 0.2
#: As `resources: {cpu: 1}` sets them.
THREADS = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
    ),
    "1",
)
TIMED = """
import sys, time
import train
plain = train.fit
def fit(*given):
    begun = time.process_time()
    plain(*given)
    print(f"fit_cpu_s={time.process_time() - begun:.3f}", flush=True)
train.fit = fit
sys.exit(train.main())
"""
_FIT = re.compile(r"fit_cpu_s=(\S+)")
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Measure and print, on a machine that may be so busy that a template would not wait."""
    templates._IDLE_S = templates._IMPORT_S = LONG_S
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "docker/trial/train.py", folder)
        Path(folder, "timed.py").write_text(TIMED)
        one_by_one(Path(folder))
        at_once(Path(folder))


def one_by_one(folder: Path) -> None:
    """Run trials of the same seeds in turn, alone and forked."""
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for number in range(1, TRIALS + 1):
        for forked in (False, True) if number % 2 else (True, False):
            before_s, begun = used_s(), time.monotonic()
            handle = begin(folder, number, forked=forked)
            lines = end(folder, handle)
            cpu_s, wall_s = used_s() - before_s, time.monotonic() - begun
            fit_s = next(float(hit[1]) for line in lines if (hit := _FIT.search(line)))
            metrics = [line for line in lines if "loss=" in line]
            guards_s = (
                cpu_s - json.loads((Path(handle["folder"]) / "exit.json").read_text())["cpu_s"]
            )
            told = {"cpu": cpu_s, "fit": fit_s, "guards": guards_s, "wall": wall_s}
            found[forked].append(told | {"metrics": metrics})
            words = (f"{name} {value:.2f}" for name, value in told.items())
            print(number, "forked" if forked else "alone", *words, flush=True)
    before_s = used_s()
    end_templates()
    template_s = used_s() - before_s
    alike = [a["metrics"] == b["metrics"] != [] for a, b in zip(*found.values(), strict=True)]
    print(
        f"{sum(alike)} of {TRIALS} trials print the same metrics; template {template_s:.2f} CPU s"
    )
    for forked, ones in found.items():
        cpu, fit, guards = (
            statistics.median(one[name] for one in ones) for name in ("cpu", "fit", "guards")
        )
        cpu += template_s / TRIALS if forked else 0.0
        wall = sum(one["wall"] for one in ones)
        print(
            f"{'forked' if forked else 'alone'}: CPU {cpu:.2f} s, fit {fit:.2f}, "
            f"beyond {cpu - fit:.2f}, of that guards {guards:.2f}; wall of all {wall:.1f} s"
        )


def at_once(folder: Path) -> None:
    """Run trials at the same time, and look at the memory of all that is there."""
    for forked in (False, True):
        begun, most = time.monotonic(), 0
        handles = [begin(folder, 100 + one, forked=forked) for one in range(PARALLEL)]
        while any(_backend(folder, forked=forked).poll(handle) is None for handle in handles):
            most = max(most, proportional())
            time.sleep(LOOK_S)
        wall_s = time.monotonic() - begun
        end_templates()
        name, used = "forked" if forked else "alone", f"{most / 2**20:.0f} MiB"
        print(f"{name}: {PARALLEL} at once, {wall_s:.1f} s, at most {used} of proportional memory")


def _backend(folder: Path, *, forked: bool) -> LocalBackend:
    home = folder / ("forked" if forked else "alone")
    return LocalBackend(home=home, workdir=folder, path=str(ROOT / ".venv-trial/bin"))


def begin(folder: Path, number: int, *, forked: bool) -> Mapping[str, Any]:
    """Begin a trial."""
    backend = _backend(folder, forked=forked)
    handle = backend.handle(AttemptName(STORE, "000001-digits", number, 1))
    told = {"HPO_SEED": str(number), "HPO_OUTPUT": str(backend.output(handle))}
    flags = [f"--epochs={EPOCHS}", f"--units={32 * (1 + number % 8)}", "--threads=1"]
    command = ["python", "timed.py", "--dataset=digits", *flags]
    options = {"fork": forked}
    backend.submit(handle, Request(command, THREADS | told, LONG_S, options=options))
    return handle


def end(folder: Path, handle: Mapping[str, Any]) -> list[str]:
    """Wait for a trial's end; gives what it has printed."""
    lines: list[str] = []
    for one in _backend(folder, forked=True).follow(handle):
        if isinstance(one, Exit):
            if one.code != 0:
                raise SystemExit(f"{one}: {lines[-3:]}")
            break
        lines.append(one)
    while any("local_template.py" not in " ".join(_words(one)) for one in _children()):
        used_s()
        time.sleep(LOOK_S / 10)
    return lines


def _children() -> list[psutil.Process]:
    return psutil.Process().children()


def _words(process: psutil.Process) -> list[str]:
    """Give a process's words; it has none from when it begins to end."""
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def used_s() -> float:
    """Give the CPU time of all that has ended below this process."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def proportional() -> int:
    """Sum the memory of all below this process, shared pages by their share."""
    found = 0
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            found += one.memory_full_info().pss
    return found


def end_templates() -> None:
    """End what waits for a further trial."""
    for one in _children():
        one.send_signal(signal.SIGTERM)
    while _children():
        used_s()
        time.sleep(LOOK_S / 10)
