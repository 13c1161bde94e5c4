"""How long slots idle where trials differ in length: `python -m benchmarks.idle [RAY] [ROUNDS]`.

40 trials that sleep, 4 at a time, for seconds drawn of a lognormal distribution (median 5 s, sigma
0.5; a seed for each round), in turn on one Airflow in slots (`mode: async`), in waves, and under
Ray Tune, if RAY names a Python that has it. Each trial writes down when it begins and ends, so all
are measured alike: makespan is from the first beginning to the last end, and idle is the share of
the four slots' time in it in which no trial slept. Beside it stands what is possible: the same
trials in the same order without a moment between two, and the best order, which nobody knows
beforehand.
"""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.overhead import ROOT
from hpo_lib.cli.airflow_api import DONE, Airflow
from hpo_lib.cli.embedded import Embedded

SLOTS, TRIALS, MEDIAN_S, SIGMA, ROUNDS = 4, 40, 5.0, 0.5, 3
_TRIAL = """#!/bin/sh
begun=$(date +%s.%N)
sleep "$1"
echo "$begun $(date +%s.%N)" >> "$2"
echo loss=1
"""


def main(ray: str = "", rounds: int = ROUNDS) -> None:
    """Print makespan and idle share of each, round by round, and the medians."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "trial.sh").write_text(_TRIAL)
        home = folder / "airflow"
        shutil.copytree(ROOT / "dags", home / "dags")
        embedded = Embedded(ROOT, home, {"AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")})
        try:
            client = embedded.up(print)
            compare(client, folder, ray, rounds)
        finally:
            embedded.down()


def compare(client: Airflow, folder: Path, ray: str, rounds: int) -> None:
    """Let each run the same trials in turn; the first of ours is for warming up."""
    ours(client, folder, [0.1] * SLOTS, "async")
    found: dict[str, list[float]] = {}
    for seed in range(rounds):
        lengths = lengths_of(seed)
        spans = {
            "best order": longest_first(lengths),
            "this order": in_turn(lengths),
            "slots": ours(client, folder, lengths, "async"),
            "waves": ours(client, folder, lengths, "waves"),
        }
        if ray:
            spans["Ray Tune"] = rays(ray, folder, lengths)
        for name, span in spans.items():
            found.setdefault(name, []).append(span)
        said = (f"{name} {span:.1f} s" for name, span in spans.items())
        print(f"seed {seed}, {sum(lengths):.1f} s of trials: {', '.join(said)}", flush=True)
    sums = [sum(lengths_of(seed)) for seed in range(rounds)]
    for name, each in found.items():
        idle = [1 - total / SLOTS / span for total, span in zip(sums, each, strict=True)]
        beside = [span / one for span, one in zip(each, found["this order"], strict=True)]
        middle = [statistics.median(one) for one in (each, beside, idle)]
        print("{:<11} makespan {:.1f} s, {:.3f} of the possible; idle {:.1%}".format(name, *middle))
    if ray:
        ratios = [one / other for one, other in zip(found["slots"], found["Ray Tune"], strict=True)]
        print(f"slots beside Ray Tune: {statistics.median(ratios):.3f}")


def lengths_of(seed: int) -> list[float]:
    """Draw the seconds of the trials, no two alike."""
    draw = random.Random(seed)
    return [round(MEDIAN_S * draw.lognormvariate(0, SIGMA), 3) for _ in range(TRIALS)]


def in_turn(lengths: Sequence[float]) -> float:
    """Give the makespan if the slot that is free first takes the next trial at once."""
    ends = [0.0] * SLOTS
    for length in lengths:
        ends[ends.index(min(ends))] += length
    return max(ends)


def longest_first(lengths: Sequence[float]) -> float:
    """Give the makespan of the order that is at most 4/3 of the best (Graham 1969)."""
    return in_turn(sorted(lengths, reverse=True))


def ours(client: Airflow, folder: Path, lengths: Sequence[float], mode: str) -> float:
    """Run the trials, and give the makespan."""
    ledger = _ledger(folder)
    conf = {
        "name": f"idle-{mode}",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"seconds": {"type": "categorical", "choices": list(dict.fromkeys(lengths))}},
        "sampler": {"name": "grid"},
        "limits": {"max_trials": len(set(lengths)), "parallel_trials": SLOTS},
        "trial": {
            "command": ["sh", str(folder / "trial.sh"), "${params.seconds}", str(ledger)],
            "args": [],
        },
        "mode": mode,
    }
    run_id = client.trigger("hpo_local", conf)
    while (state := client.state("hpo_local", run_id)) not in DONE:
        time.sleep(0.5)
    if state != "success":
        raise SystemExit(f"hpo_local ended as {state}: nothing was measured")
    return makespan(ledger, len(set(lengths)))


_OF_RAY = """
import json, sys, time
import ray
from ray import tune

lengths, ledger, slots = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def trial(config):
    begun = time.time()
    time.sleep(config["seconds"])
    with open(ledger, "a") as file:
        file.write(f"{begun} {time.time()}\\n")
    tune.report({"loss": 1.0})

ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False)
tune.Tuner(
    tune.with_resources(trial, {"cpu": 1}),
    param_space={"seconds": tune.grid_search(lengths)},
    tune_config=tune.TuneConfig(metric="loss", mode="min", reuse_actors=True),
    run_config=tune.RunConfig(storage_path=sys.argv[4], verbose=0),
).fit()
"""


def rays(python: str, folder: Path, lengths: Sequence[float]) -> float:
    """Run the trials under Ray Tune, which keeps its processes from trial to trial."""
    ledger = _ledger(folder)
    words = [
        python,
        "-c",
        _OF_RAY,
        str(list(lengths)),
        str(ledger),
        str(SLOTS),
        str(folder / "ray"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Ray Tune failed: {done.stderr[-2_000:]}")
    return makespan(ledger, len(lengths))


def _ledger(folder: Path) -> Path:
    ledger = folder / "ledger"
    ledger.unlink(missing_ok=True)
    return ledger


def makespan(ledger: Path, trials: int) -> float:
    """Read when the first trial began and the last one ended."""
    times = [[float(word) for word in line.split()] for line in ledger.read_text().splitlines()]
    if len(times) != trials:
        raise SystemExit(f"{len(times)} of {trials} trials have ended: nothing was measured")
    return max(end for _, end in times) - min(begun for begun, _ in times)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
