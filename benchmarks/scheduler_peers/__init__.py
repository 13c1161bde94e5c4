"""Other people's schedulers on the recorded curves, each by a script in its own environment.

Runs are kept in `runs.jsonl`, a line each; one that is there is not done again. See the README.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.curves import Recorded
from benchmarks.simulator import FULL, SHARES, regret_of

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-peers"
RUNS = HERE / "runs.jsonl"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose scheduler: its environment, its script, and which of those that the script knows."""

    environment: str
    script: str
    kind: str

    @property
    def python(self) -> Path:
        """Its own Python."""
        return ENVIRONMENTS / f"schedulers-{self.environment}" / "bin" / "python"


PEERS = {
    "Ray Tune ASHA": Peer("ray", "ray_asha.py", "asha"),
    "Optuna Hyperband + TPE": Peer("optuna", "optuna_hyperband.py", "tpe"),
    "Syne Tune MOBSTER": Peer("syne-tune", "syne_tune_gp.py", "mobster"),
    "Syne Tune Hyper-Tune": Peer("syne-tune", "syne_tune_gp.py", "hypertune"),
    "NePS Hyperband": Peer("neps", "neps_brackets.py", "auto"),
    "NePS ASHA": Peer("neps", "neps_brackets.py", "asha"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which seeds, and how many steps of each problem, as a share of 100 full trainings."""

    seeds: int = 4
    share: float = 1.0

    def budget(self, problem: Recorded) -> int:
        """Give the steps of all trials of a run together."""
        return int(self.share * FULL * problem.steps)


class Runs:
    """The file of finished runs; of the same peer, problem and seed the longest counts."""

    def __init__(self, path: Path = RUNS) -> None:
        self._path = path
        self._found: dict[tuple[str, str, int], Line] = {}
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                self._take(json.loads(text))

    def of(self, peer: str, problem: Recorded, seeds: int) -> list[Line]:
        """Give the runs that there are, by seed."""
        keys = [(peer, fingerprint(problem), seed) for seed in range(seeds)]
        return [self._found[key] for key in keys if key in self._found]

    def missing(self, peer: str, problem: Recorded, plan: Plan) -> list[int]:
        """Give the seeds that are to be run."""
        budget = plan.budget(problem)
        done = [one for one in self.of(peer, problem, plan.seeds) if one["budget"] >= budget]
        return sorted(set(range(plan.seeds)) - {one["seed"] for one in done})

    def play(self, peer: str, problem: Recorded, plan: Plan) -> None:
        """Do what is missing, in one process of the peer's own Python, and keep it run by run."""
        seeds = self.missing(peer, problem, plan)
        if not seeds or not PEERS[peer].python.exists():
            return
        about = {"peer": peer, "problem": problem.name, "print": fingerprint(problem)}
        for seed, said in zip(seeds, _said(PEERS[peer], problem, plan, seeds), strict=False):
            line = {**about, "seed": seed, "budget": plan.budget(problem), **json.loads(said)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._take(line)

    def _take(self, line: Line) -> None:
        key = line["peer"], line["print"], line["seed"]
        if key not in self._found or line["budget"] >= self._found[key]["budget"]:
            self._found[key] = line


def _said(peer: Peer, problem: Recorded, plan: Plan, seeds: Sequence[int]) -> Iterator[str]:
    """Give the lines of a peer's process as they come; what else it says is shown if it fails."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        file = Path(folder) / "curves.npz"
        problem.write(file)
        runs = [word for seed in seeds for word in (str(file), str(seed))]
        command = [peer.python, HERE / peer.script, peer.kind, str(plan.budget(problem)), *runs]
        env = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": "0"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env, cwd=folder
        )
        with process:
            yield from process.stdout or ()
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{peer.script} {peer.kind} ended: {errors.read()[-2000:]}")


def fingerprint(problem: Recorded) -> str:
    """Hash configurations and curves."""
    text = json.dumps([problem.params, problem.space], sort_keys=True)
    return hashlib.sha256(text.encode() + problem.loss.tobytes()).hexdigest()[:10]


def regrets(lines: Sequence[Line], problem: Recorded) -> list[float | None]:
    """Give the mean regrets of a peer's runs, by share; None where a run was not that long."""
    shortest = min((one["budget"] for one in lines), default=0)
    return [
        fmean(_regret(line, problem, share) for line in lines)
        if Plan(share=share).budget(problem) <= shortest
        else None
        for share in SHARES
    ]


def _regret(line: Line, problem: Recorded, share: float) -> float:
    within = share * FULL * problem.steps
    rows = [row for row, steps in line["finished"] if steps <= within]
    return regret_of([float(problem.loss[row, -1]) for row in rows], problem)
