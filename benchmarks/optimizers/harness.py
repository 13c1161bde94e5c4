"""Everything to run, what of it is done already, and the file of results.

One JSON object per line, of `kind` run or random; the last one of its kind and key counts. A line
that was torn by a kill is skipped, and its run done again.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.optimizers import session
from benchmarks.optimizers.session import Protocol
from hpo_lib.words import duration

PUBLISHED = Path(__file__).parent / "data" / "runs.jsonl.gz"
RANDOM = 1_024  # random evaluations per problem, for the reference

Line = dict[str, Any]
Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare on what."""

    peers: tuple[str, ...]
    problems: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    seeds: int
    timeout_s: float = 3_600.0

    def runs(self) -> Iterator[Key]:
        """Give the runs, seed by seed, so that a part of them is a comparison already."""
        for seed in range(self.seeds):
            for protocol in self.protocols:
                for problem in self.problems:
                    for peer in self.peers:
                        yield problem, peer, str(protocol), seed


@dataclass(slots=True)
class Results:
    """The file of results, read; lines of problems that have changed since are left out."""

    path: Path
    runs: dict[Key, Line] = field(default_factory=dict)
    random: dict[str, Line] = field(default_factory=dict)
    lowest: dict[str, list[float | None]] = field(default_factory=dict)
    walls: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, problems: Sequence[str]) -> Results:
        """Read what there is; a run of another version of our sampler is as good as none."""
        results = cls(path)
        for line in lines(path):
            if line["problem"] in problems and line["print"] == print_of(line["problem"]):
                results.take(line)
        return results

    def take(self, line: Line) -> None:
        """Count a line in."""
        problem = line["problem"]
        if line["kind"] == "random":
            self.random[problem] = line
            return
        self.lowest.setdefault(problem, []).append(line["lowest"])
        peer, protocol = line["peer"], line["protocol"]
        self.walls.setdefault((peer, protocol), []).append(line["wall_s"])
        if is_current(line):
            self.runs[problem, peer, protocol, line["seed"]] = line

    def add(self, line: Line) -> None:
        """Append a line to the file, after the end of a torn one, and count it in."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write(b"\n" * torn + json.dumps(line, allow_nan=False).encode() + b"\n")
        self.take(line)


def begin(path: Path) -> None:
    """Let a new file of results begin with the published ones, which have taken hours."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress(PUBLISHED.read_bytes()))


def lines(path: Path) -> Iterator[Line]:
    """Give every whole line of a file of results."""
    if not path.exists():
        return
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("kind") in ("run", "random"):
            yield line


def is_current(line: Line) -> bool:
    """Say whether a run is not one of another version of a sampler of ours."""
    if not session.is_known(line["peer"]):
        return False
    return not line["peer"].startswith("ours:") or line["version"] == source_of(line["peer"])


@cache
def source_of(peer: str) -> str:
    """Give `session.source_of` as it was when first asked."""
    return session.source_of(peer)


@cache
def print_of(problem: str) -> str:
    """Give the problem's fingerprint."""
    from benchmarks.optimizers.problems import PROBLEMS

    return session.fingerprint(PROBLEMS[problem]) if problem in PROBLEMS else ""


def run_missing(
    plan: Plan, results: Results, *, jobs: int, retry: bool, say: Callable[[str], None]
) -> None:
    """Do and store what is missing, `jobs` at a time."""
    references = [name for name in plan.problems if name not in results.random]
    missing = [key for key in plan.runs() if to_do(results.runs.get(key), retry)]
    if not (references or missing):
        return
    say(f"{len(missing)} runs to do, {len(results.runs)} stored; {len(references)} references")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            tasks = [pool.submit(reference_line, name) for name in references]
            for count, task in enumerate(as_completed(tasks), 1):
                results.add(task.result())
                say(f"reference {count}/{len(tasks)}: {task.result()['problem']}")
            tasks = [pool.submit(run_line, key, plan.timeout_s) for key in missing]
            for count, task in enumerate(as_completed(tasks), 1):
                line = task.result()
                results.add(line)
                left = eta_s(results, missing, count) / jobs
                say(f"{count}/{len(tasks)} {told(line)} · {duration(left)} left")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def to_do(line: Line | None, retry: bool) -> bool:
    """Say whether a run is missing; one that broke off is done again only if asked for."""
    return line is None or (retry and line["error"] is not None)


def reference_line(name: str) -> Line:
    """Evaluate a problem at random, in a process of the pool."""
    from benchmarks.optimizers.problems import PROBLEMS

    one_thread()
    pairs = session.at_random(PROBLEMS[name], RANDOM)
    short = [[None if v is None else float(f"{v:.7g}") for v in pair] for pair in pairs]
    return {"kind": "random", "problem": name, "print": print_of(name), "pairs": short}


def run_line(key: Key, timeout_s: float) -> Line:
    """Do a run, in a process of the pool."""
    from benchmarks.optimizers.problems import PROBLEMS

    one_thread()
    name, peer, protocol, seed = key
    outcome = session.run(PROBLEMS[name], peer, Protocol.of(protocol), seed, timeout_s)
    return {
        "kind": "run",
        "problem": name,
        "peer": peer,
        "protocol": protocol,
        "seed": seed,
        "print": print_of(name),
        **outcome.dump(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
    }


def one_thread() -> None:
    """Hold the libraries below scikit-learn to one thread."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    threadpool_limits(limits=1)


def machine() -> str:
    """Name processor and Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x.partition(":")[2] for x in info.read_text().splitlines() if "model name" in x]
        model = " ".join(names[0].split()) if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def told(line: Line) -> str:
    """Say in a few words how a run went."""
    best = line["true"][-1] if line["true"] else None
    words = f"{line['problem']} {line['peer']} {line['protocol']} seed {line['seed']}: "
    words += "no success" if best is None else f"{best:.4g}"
    words += f", {sum(line['cpu_s']):.1f} CPU s"
    return words + (f", broke off: {line['error']}" if line["error"] else "")


def eta_s(results: Results, missing: Sequence[Key], done: int) -> float:
    """Estimate the seconds of the runs that are left, from those of the same peer and protocol."""
    every = [wall for walls in results.walls.values() for wall in walls]
    usual = statistics.fmean(every) if every else 0.0
    means = {key: statistics.fmean(walls) for key, walls in results.walls.items()}
    return sum(means.get((peer, protocol), usual) for _, peer, protocol, _ in missing[done:])


def say(text: str) -> None:
    """Show progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)
