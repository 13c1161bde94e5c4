"""The tables: every optimizer, differences to ours, and the problems on which ours loses.

A standard error here is that of a mean over problems (each the mean over its seeds): what another
draw of problems and seeds would change. Differences also have the one over all pairs of problem and
seed: what other seeds on the same problems would change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.optimizers.harness import Plan, Results, machine
from benchmarks.optimizers.score import Scale, Score, mean_and_error, scale_of, score
from benchmarks.optimizers.session import Protocol

BASELINES = ("ours:random", "ours:sobol")
N_LOSSES = 6

Pair = tuple[str, int]
Scores = dict[Pair, Score]


@dataclass(frozen=True, slots=True)
class Difference:
    """Gap of ours minus that of a peer, over the (problem, seed) pairs that both have."""

    peer: str
    mean: float
    error: float
    pairs_error: float
    by_problem: Mapping[str, float]
    pairs: int


def tables(plan: Plan, results: Results) -> str:
    """Write everything as Markdown."""
    parts = [header(plan, results)]
    for protocol in plan.protocols:
        scores = scores_of(plan, results, protocol)
        parts.append(section(plan, results, protocol, scores))
    return "\n\n".join(parts)


def header(plan: Plan, results: Results) -> str:
    """Say what was compared, where and when."""
    used = [line for key, line in results.runs.items() if key[1] in plan.peers]
    dates = sorted(line["at"][:10] for line in used)
    machines = sorted({line["machine"] for line in used}) or [machine()]
    versions = {line["peer"]: line["version"] for line in used}
    listing = ", ".join(f"{peer} {versions[peer]}" for peer in plan.peers if peer in versions)
    when = f"{dates[0]} to {dates[-1]}" if dates else time.strftime("%Y-%m-%d", time.gmtime())
    return "\n".join(
        [
            f"{len(plan.problems)} problems: {', '.join(plan.problems)}.",
            f"{plan.seeds} seeds; {when}; {'; '.join(machines)}; one thread each.",
            f"Versions (ours: hash of the sampler's source): {listing or 'none yet'}.",
        ]
    )


def scales_of(plan: Plan, results: Results, protocol: Protocol) -> dict[str, Scale]:
    """Give the scale of every problem that has its random evaluations."""
    return {
        name: scale_of(results.random[name]["pairs"], protocol.batch, results.lowest.get(name, []))
        for name in plan.problems
        if name in results.random
    }


def scores_of(plan: Plan, results: Results, protocol: Protocol) -> dict[str, Scores]:
    """Score every stored run of the plan, by peer."""
    scales = scales_of(plan, results, protocol)
    scores: dict[str, Scores] = {peer: {} for peer in plan.peers}
    for (problem, peer, of, seed), line in results.runs.items():
        wanted = of == str(protocol) and peer in scores and seed < plan.seeds
        if wanted and problem in scales:
            scores[peer][problem, seed] = score(line, scales[problem], protocol.rounds)
    return scores


def section(plan: Plan, results: Results, protocol: Protocol, scores: Mapping[str, Scores]) -> str:
    """Write the tables of one protocol."""
    title = (
        f"## {protocol}: {protocol.rounds} rounds of {protocol.batch}, "
        f"{protocol.budget} evaluations"
    )
    parts = [title, main_table(plan, results, protocol, scores)]
    ours = next((p for p in plan.peers if p.startswith("ours:") and p not in BASELINES), None)
    if ours and scores[ours]:
        others = [peer for peer in plan.peers if peer != ours and scores[peer]]
        found = [difference(peer, scores[ours], scores[peer]) for peer in others]
        found = [one for one in found if one.pairs]
        parts += [difference_table(ours, found), losses(ours, found)]
    return "\n\n".join(part for part in parts if part)


def main_table(
    plan: Plan, results: Results, protocol: Protocol, scores: Mapping[str, Scores]
) -> str:
    """Write gap, any and CPU seconds of every optimizer, best first."""
    wanted = len(plan.problems) * plan.seeds
    rows = []
    for peer in sorted(plan.peers, key=lambda peer: order(scores[peer])):
        mine = scores[peer]
        mean, error = mean_and_error(list(by_problem(mine, "gap").values()))
        early, _ = mean_and_error(list(by_problem(mine, "any").values()))
        cpu_s, _ = mean_and_error([one.cpu_s for one in mine.values()])
        broken = [results.runs[p, peer, str(protocol), s] for p, s in mine]
        n_broken = sum(line["error"] is not None for line in broken)
        cells = [peer, f"{plus_minus(mean, error)}", number(early, 1), number(cpu_s, 1)]
        rows.append([*cells, f"{len(mine)} of {wanted}", str(n_broken or "")])
    head = ["optimizer", "gap ± SE", "any", "CPU s", "runs", "broke off"]
    lines = [grid(head, rows)]
    lines += [f"{name}: {why}" for name, why in reasons(plan, results, protocol)]
    return "\n".join([lines[0], *([""] if lines[1:] else []), *lines[1:]])


def reasons(plan: Plan, results: Results, protocol: Protocol) -> list[tuple[str, str]]:
    """Give the first reason why runs of each peer broke off."""
    found: dict[str, str] = {}
    for (problem, peer, of, seed), line in sorted(results.runs.items()):
        if (
            line["error"]
            and of == str(protocol)
            and peer in plan.peers
            and problem in plan.problems
        ):
            found.setdefault(peer, f"broke off on {problem}, seed {seed}: {line['error']}")
    return list(found.items())


def difference(peer: str, ours: Scores, theirs: Scores) -> Difference:
    """Compare on the pairs of problem and seed that both have."""
    both = sorted(set(ours) & set(theirs))
    grouped: dict[str, list[float]] = {}
    for problem, seed in both:
        value = ours[problem, seed].gap - theirs[problem, seed].gap
        grouped.setdefault(problem, []).append(value)
    means = {problem: sum(values) / len(values) for problem, values in grouped.items()}
    mean, error = mean_and_error(list(means.values()))
    _, pairs_error = mean_and_error([value for values in grouped.values() for value in values])
    return Difference(peer, mean, error, pairs_error, means, len(both))


def difference_table(ours: str, found: Iterable[Difference]) -> str:
    """Write the paired differences, the strongest peer first."""
    rows = [
        [
            one.peer,
            plus_minus(one.mean, one.error, sign="+"),
            f"± {number(one.pairs_error, 1) or '?'}",
            f"{sum(v > 0 for v in one.by_problem.values())} of {len(one.by_problem)}",
            str(one.pairs),
        ]
        for one in sorted(found, key=lambda one: one.mean)
    ]
    return grid([f"{ours} minus", "gap ± SE", "over pairs", "ahead on problems", "pairs"], rows)


def losses(ours: str, found: Iterable[Difference]) -> str:
    """List the problems on which the best of the peers is ahead by most."""
    worst: dict[str, tuple[float, str]] = {}
    for one in found:
        for problem, value in one.by_problem.items():
            worst[problem] = min(worst.get(problem, (0.0, "")), (value, one.peer))
    behind = sorted((value, problem, peer) for problem, (value, peer) in worst.items() if peer)
    if not behind:
        return f"{ours} is behind on no problem."
    words = [f"{problem} {value:+.1f} ({peer})" for value, problem, peer in behind[:N_LOSSES]]
    return f"Where {ours} is behind the best peer by most: {', '.join(words)}."


def by_problem(scores: Scores, what: str) -> dict[str, float]:
    """Give the mean over the seeds of each problem."""
    grouped: dict[str, list[float]] = {}
    for (problem, _), one in scores.items():
        grouped.setdefault(problem, []).append(getattr(one, what))
    return {problem: sum(values) / len(values) for problem, values in grouped.items()}


def order(scores: Scores) -> float:
    """Sort by gap, what has no runs last."""
    mean, _ = mean_and_error(list(by_problem(scores, "gap").values()))
    return math.inf if math.isnan(mean) else -mean


def plus_minus(mean: float, error: float, sign: str = "") -> str:
    """Write 12.3 ± 0.4."""
    return "" if math.isnan(mean) else f"{mean:{sign}.1f} ± {number(error, 1) or '?'}"


def number(value: float, digits: int) -> str:
    """Write a number, NaN as nothing."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table, aligned to be read as text as well."""
    table = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    written = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(written)
