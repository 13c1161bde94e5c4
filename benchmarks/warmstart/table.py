"""The tables of the results: trials to reach two targets, and the loss in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.warmstart.measure import TRIALS

Row = Mapping[str, Any]
Target = Callable[[Row], float]

ARMS = ("cold", "first point", "warm", "unrelated")
NEVER = TRIALS + 1


def tables(rows: Sequence[Row]) -> str:
    """Write all tables; a target that an arm never reaches counts as one trial too many."""
    return "\n".join(
        [
            *_reach("Trials to reach the previous best, measured tonight", rows, _previous),
            "",
            *_reach("Trials to reach the best that the cold run ends with", rows, _cold),
            "",
            *_ends(rows),
        ]
    )


def _previous(row: Row) -> float:
    return float(row["previous"])


def _cold(row: Row) -> float:
    return _end(row, "cold")


def _end(row: Row, arm: str) -> float:
    return float(row["arms"][arm][-1][1])


def reached(row: Row, arm: str, target: float) -> int:
    """Count the trials until a loss is as good as the target."""
    found = (int(number) for number, loss in row["arms"][arm] if loss <= target)
    return next(found, NEVER)


def _reach(title: str, rows: Sequence[Row], target: Target) -> Iterator[str]:
    yield f"{title} (median; in brackets: never, of the seeds)"
    yield ""
    yield _line(["task", "seeds", *ARMS])
    yield _line(["---"] * (len(ARMS) + 2))
    for name, group in _groups(rows):
        counts = [[reached(row, arm, target(row)) for row in group] for arm in ARMS]
        cells = [f"{median(c):g} ({sum(one == NEVER for one in c)})" for c in counts]
        yield _line([name, str(len(group)), *cells])


def _ends(rows: Sequence[Row]) -> Iterator[str]:
    yield (
        f"Loss after {TRIALS} trials as a ratio to the cold run's of the same seed: median, "
        "geometric mean; share of the seeds that are more than 5 % worse"
    )
    yield ""
    yield _line(["task", "seeds", *ARMS[1:]])
    yield _line(["---"] * (len(ARMS) + 1))
    for name, group in _groups(rows):
        cells = []
        for arm in ARMS[1:]:
            ratios = [_end(row, arm) / _end(row, "cold") for row in group]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            worse = sum(ratio > 1.05 for ratio in ratios) / len(ratios)
            cells.append(f"{median(ratios):.3f}, {mean:.3f}; {worse:.0%}")
        yield _line([name, str(len(group)), *cells])


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for name in dict.fromkeys(row["task"] for row in rows):
        yield name, [row for row in rows if row["task"] == name]
    yield "**all**", list(rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
