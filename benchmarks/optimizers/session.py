"""One run: a problem, a peer in a process of its own, a protocol and a seed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.optimizers.problem import Params, Problem
from hpo_lib import registry
from hpo_lib.core.space import Space

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("peer.py")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: The folder of a peer's environment; of a name such as optuna-gp, what is before the hyphen.
ENVIRONMENTS = ROOT / ".venv-peers"
PEERS = ("hebo", "optuna-tpe", "optuna-gp", "optuna-cmaes", "skopt-gp", "hyperopt-tpe", "smac")


class PeerDied(RuntimeError):
    """The peer's process ended, or said something that is no answer."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """`rounds` times a batch of `batch`: written 8x16."""

    batch: int
    rounds: int

    @classmethod
    def of(cls, text: str) -> Protocol:
        """Read 8x16."""
        batch, _, rounds = text.partition("x")
        if not (batch.isdecimal() and rounds.isdecimal() and int(batch) and int(rounds)):
            raise ValueError(f"a protocol must be BATCHxROUNDS such as 8x16, got {text!r}")
        return cls(int(batch), int(rounds))

    def __str__(self) -> str:
        return f"{self.batch}x{self.rounds}"

    @property
    def budget(self) -> int:
        """Evaluations in all."""
        return self.batch * self.rounds


@dataclass(slots=True)
class Outcome:
    """What a run gave, by round: best observed value, its true value, CPU seconds of the peer.

    `lowest` is the lowest true value of any evaluation; null where nothing succeeded yet. A run
    that broke off has fewer rounds and says why in `error`.
    """

    best: list[float | None] = field(default_factory=list)
    true: list[float | None] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    lowest: float | None = None
    wall_s: float = 0.0
    version: str = ""
    error: str | None = None

    def dump(self) -> dict[str, Any]:
        """Give what goes into a line of the results."""
        return asdict(self)


def python_of(peer: str) -> Path:
    """Give the Python of a peer's environment."""
    if peer.startswith("ours:"):
        return ROOT / ".venv" / "bin" / "python"
    return ENVIRONMENTS / peer.partition("-")[0] / "bin" / "python"


def is_known(peer: str) -> bool:
    """Say whether there is such a peer, installed or not."""
    return peer in PEERS or peer.removeprefix("ours:") in registry.SAMPLERS


def source_of(peer: str) -> str:
    """Hash the source of a sampler of ours and of those beside it that it imports; else empty."""
    if not peer.startswith("ours:"):
        return ""
    waiting = [registry.SAMPLERS[peer.removeprefix("ours:")].partition(":")[0]]
    seen: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        path = ROOT / f"{module.replace('.', '/')}.py"
        if module not in seen and path.exists():
            seen[module] = path.read_text()
            waiting += imported(seen[module])
    return hashlib.sha256("".join(seen[name] for name in sorted(seen)).encode()).hexdigest()[:10]


def imported(source: str) -> list[str]:
    """Give what may be modules among the samplers that a source names, importable or not."""
    found = re.findall(r"hpo_lib\.samplers(?:\.\w+)+", source)
    pattern = r"from (hpo_lib\.samplers(?:\.\w+)*) import \(?([\w, \n]+)"
    for package, names in re.findall(pattern, source):
        found += [f"{package}.{name}" for name in re.findall(r"\w+", names)]
    return found


class Worker:
    """The peer's process; it is ended with the block, and after `timeout_s` seconds."""

    def __init__(self, peer: str, start: dict[str, Any], timeout_s: float) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        env = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [python_of(peer), "-P", WORKER, peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=env,
            cwd=ROOT,
        )
        self._expired = False
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True
        self._timer.start()
        self._start, self._timeout_s = start, timeout_s

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()

    def begin(self) -> str:
        """Start the run; gives the peer's version."""
        return str(self._exchange(self._start)["version"])

    def turn(self, told: list[tuple[Params, float | None]], count: int) -> dict[str, Any]:
        """Tell, then ask for `count`; gives `ask` and `cpu_s`."""
        return self._exchange({"tell": told, "ask": count})

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise PeerDied("no pipes")
        try:
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
            return dict(json.loads(stdout.readline()))
        except (OSError, ValueError):
            raise PeerDied(self._why()) from None

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()

    def _why(self) -> str:
        code = self._process.wait()
        if self._expired:
            return f"not done after {self._timeout_s:.0f} s"
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return lines[-1][:300] if lines else f"ended with code {code}"


def run(problem: Problem, peer: str, protocol: Protocol, seed: int, timeout_s: float) -> Outcome:
    """Let a peer minimise a problem; what goes wrong with the peer is part of the outcome."""
    outcome = Outcome(version=source_of(peer))
    began = time.monotonic()
    start = {
        "space": problem.space,
        "seed": seed,
        "batch": protocol.batch,
        "budget": protocol.budget,
    }
    try:
        with Worker(peer, start, timeout_s) as worker:
            version = worker.begin()
            outcome.version = outcome.version or version
            search(problem, worker, protocol, seed, outcome)
    except (PeerDied, OSError) as error:
        outcome.error = str(error)
    outcome.wall_s = round(time.monotonic() - began, 2)
    return outcome


def search(
    problem: Problem, worker: Worker, protocol: Protocol, seed: int, outcome: Outcome
) -> None:
    """Run the rounds and write them into `outcome`; what is told last is on the clock too."""
    space = Space.parse(problem.space)
    best: tuple[float, float] | None = None
    told: list[tuple[Params, float | None]] = []
    for _ in range(protocol.rounds):
        answer = worker.turn(told, protocol.batch)
        told = []
        for flat in answer["ask"][: protocol.batch]:
            params = space.canonical(flat)
            true = problem.true(params)
            observed = problem.measured(true, params, seed)
            failed = math.isnan(observed)
            told.append((flat, None if failed else observed))
            if failed:
                continue
            best = min(best, (observed, true)) if best else (observed, true)
            outcome.lowest = true if outcome.lowest is None else min(outcome.lowest, true)
        outcome.best.append(best[0] if best else None)
        outcome.true.append(best[1] if best else None)
        outcome.cpu_s.append(answer["cpu_s"])
    outcome.cpu_s[-1] += worker.turn(told, 0)["cpu_s"]


def at_random(problem: Problem, count: int) -> list[tuple[float | None, float | None]]:
    """Evaluate `count` random configurations: observed and true values, null for failures."""
    space = Space.parse(problem.space)
    draw = random.Random(f"reference {problem.name}")
    found: list[tuple[float | None, float | None]] = []
    for seed in range(count):
        params = space.from_unit([draw.random() for _ in range(len(space))])
        true = problem.true(params)
        observed = problem.measured(true, params, -1 - seed)
        found.append((None, None) if math.isnan(true) else (observed, true))
    return found


def fingerprint(problem: Problem) -> str:
    """Hash the space and the losses of three configurations: changes with what a problem is."""
    space = Space.parse(problem.space)
    draw = random.Random("fingerprint")
    points = [[draw.random() for _ in range(len(space))] for _ in range(3)]
    losses = [f"{problem.true(space.from_unit(point)):.5g}" for point in points]
    text = json.dumps([problem.space, problem.noise, losses])
    return hashlib.sha256(text.encode()).hexdigest()[:10]
