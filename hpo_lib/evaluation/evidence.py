"""Evidence: what final trials have left for the gate to compare, and what of it is missing.

Pure. A final trial counts with all that it should have left and with its pair, or takes no part.
What is known of one that takes no part is kept all the same: it may speak against a challenger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hpo_lib.words import count, number

#: Nothing is promoted on fewer final trials than this, paired by seed.
MIN_SEEDS = 2
#: How far the mean of the per-example scores may be from the metric, as a share of it.
_AGREES = 0.01
#: A score beyond this counts as not finite: its square would not be.
LARGEST = 1e100
DIGITS = 4
#: How many files that cannot be read are named, of each side.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Scores:
    """What a configuration's final trials scored on the hold-out, one per seed.

    Positions pair with the other side's: the same seed. A trial that left nothing is `{}`; a score
    that was not finite is kept as it was. `examples` holds, by metric and seed, the scores of
    single examples, whose mean is the metric; every trial has the same examples in the same order,
    one that left none has none. `unread` says, by position, why those that a trial has left cannot
    be read.
    """

    metrics: Sequence[Mapping[str, float]]
    examples: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    unread: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is to be compared: the sides are paired by position.

    `seeds_asked`: so many final trials were asked for on each side, if that is known.
    """

    metric: str
    challenger: Scores
    champion: Scores | None
    seeds_asked: int = 0

    @property
    def sides(self) -> list[tuple[str, Scores]]:
        """Both sides, or the only one, with their names."""
        named = [("challenger", self.challenger), ("champion", self.champion)]
        return [(name, side) for name, side in named if side is not None]

    @property
    def asked(self) -> int:
        """How many final trials there should have been on each side."""
        return max(self.seeds_asked, *(len(side.metrics) for _, side in self.sides))

    @property
    def detailed(self) -> bool:
        """Say whether any final trial has left example scores, be they readable or not."""
        return any(side.unread or _rows(self.metric, side) for _, side in self.sides)

    @property
    def seeds(self) -> list[int]:
        """The positions that count: every side has a score, and example scores if any trial has."""
        found = set(self._scored)
        for _, side in self.sides if self.detailed else []:
            found &= _rows(self.metric, side).keys()
        return sorted(found)

    @property
    def _scored(self) -> list[int]:
        """The positions at which every side has a score."""
        own = [set(scored(self.metric, side)) for _, side in self.sides]
        return sorted(set.intersection(*own))

    def known(self, side: Scores) -> dict[int, float]:
        """Give a side's scores by position, those of final trials that take no part too."""
        return {at: value for at, value in self._told(side).items() if is_score(value)}

    def _told(self, side: Scores) -> dict[int, float]:
        """Give what a side's trials scored; where only the example scores say it, their mean."""
        left = enumerate(one.get(self.metric) for one in side.metrics)
        told = {at: float(value) for at, value in left if value is not None}
        rows = _rows(self.metric, side)
        lost = {at: float(sum(rows[at])) / len(rows[at]) for at in rows.keys() - told.keys()}
        return told | lost

    def values(self, side: Scores) -> list[float]:
        """Give a side's scores by seed."""
        known = scored(self.metric, side)
        return [known[at] for at in self.seeds]

    def examples(self) -> list[list[Sequence[float]]]:
        """Give the example scores by side and seed; nothing if no final trial has left any."""
        if not self.detailed:
            return []
        listed = [_rows(self.metric, side) for _, side in self.sides]
        return [[rows[at] for at in self.seeds] for rows in listed]

    def unfit(self) -> str | None:
        """Say why there is nothing to compare."""
        for at, value in sorted(self._told(self.challenger).items()):
            if not is_score(value):
                was = number(value)
                return f"the challenger's {self.metric} was {was} in {self.trials([at])}"
        if len(self.seeds) >= MIN_SEEDS:
            return None
        if len(self._scored) >= MIN_SEEDS:
            return self._few({name: _rows(self.metric, side) for name, side in self.sides}, True)
        return self._few({name: scored(self.metric, side) for name, side in self.sides}, False)

    def _few(self, known: Mapping[str, Mapping[int, object]], detailed: bool) -> str:
        """Say that too few seeds can be compared: `known` has the trials that left it, by side."""
        what = f"scores of single examples of {self.metric}" if detailed else self.metric
        left = (f"{len(found)} of the {name}'s" for name, found in known.items())
        return (
            f"at least {MIN_SEEDS} seeds are needed to judge {what}, and there are "
            f"{len(self.seeds)}; of {count(self.asked, 'final trial')} that were asked for, "
            f"{' and '.join(left)} left {'them' if detailed else 'it'}"
        )

    def mismatch(self) -> str | None:
        """Say what shows that example scores are of different hold-outs, or not of the metric.

        All that are there are looked at, be their pair lost or not.
        """
        found = {name: _rows(self.metric, side) for name, side in self.sides}
        sizes = Counter(len(scores) for rows in found.values() for scores in rows.values())
        if len(sizes) > 1:
            return self._sizes(found, sizes)
        if set(sizes) == {1}:
            return f"{self.metric} was scored on a hold-out of one example"
        for name, side in self.sides:
            values = scored(self.metric, side)
            for at in sorted(values.keys() & found[name].keys()):
                if why := _contradiction(values[at], found[name][at]):
                    shown = f"{number(values[at], DIGITS)} in {self.trials([at])}"
                    return f"the {name}'s {self.metric} is {shown}, {why}"
        return None

    def _sizes(
        self, found: Mapping[str, Mapping[int, Sequence[float]]], sizes: Mapping[int, int]
    ) -> str:
        """Name the final trials whose hold-out has another size than most."""
        usual = max(sizes, key=lambda size: (sizes[size], size))
        others = []
        for name, rows in found.items():
            at = [at for at, scores in rows.items() if len(scores) != usual]
            own = " and ".join(f"{size:,}" for size in sorted({*map(len, rows.values())} - {usual}))
            others += [f"the {name}'s {self.trials(at)} on {own}"] if at else []
        shown = " and ".join(f"{size:,}" for size in (min(sizes), max(sizes)))
        return (
            f"{self.metric} was scored on {shown} examples, so the hold-out was not the same: "
            f"{', '.join(others)}"
        )

    def gaps(self) -> list[str]:
        """Say in sentences which final trials do not count, and why: whose evidence is missing."""
        return [*self._without_score(), *self._without_pair(), *self.without_examples()]

    def _without_score(self) -> Iterator[str]:
        missing = [at for at in range(self.asked) if at not in self._scored]
        if missing:
            whose = "" if self.champion is None else " on at least one side"
            which = self.trials(missing).capitalize()
            yield f"{which} took no part, for want of {self.metric}{whose}."

    def _without_pair(self) -> Iterator[str]:
        """Say what a side has scored where there is nothing of the other to compare it with."""
        known = {name: self.known(side) for name, side in self.sides}
        both = set.intersection(*map(set, known.values()))
        for name, scores in known.items():
            if alone := sorted(scores.keys() - both):
                mean = number(sum(scores[at] for at in alone) / len(alone), DIGITS)
                several = " in the mean" if alone[1:] else ""
                yield f"In {self.trials(alone)} the {name}'s {self.metric} is {mean}{several}."

    def without_examples(self) -> Iterator[str]:
        """Say which final trials have a score but no example scores, while others have both."""
        for name, side in self.sides if self.detailed else []:
            known = scored(self.metric, side)
            none = sorted(known.keys() - _rows(self.metric, side).keys() - side.unread.keys())
            if none:
                why = f"for want of scores of single examples of {self.metric}"
                yield f"The {name}'s {self.trials(none)} took no part, {why}."
            torn = sorted(known.keys() & side.unread.keys())
            for at in torn[:_NAMED]:
                yield f"The {name}'s {self.trials([at])} took no part: {side.unread[at]}."
            if rest := torn[_NAMED:]:
                yield f"Nor did its {self.trials(rest)}, for such reasons."

    def trials(self, at: Sequence[int]) -> str:
        """Name final trials by their positions."""
        numbers = ", ".join(str(one + 1) for one in at)
        return f"final {'trials' if at[1:] else 'trial'} {numbers} of {self.asked}"


def scored(metric: str, side: Scores) -> dict[int, float]:
    """Give a side's scores by position; those that are missing or not finite are left out."""
    pairs = enumerate(one.get(metric, math.nan) for one in side.metrics)
    return {at: float(value) for at, value in pairs if is_score(value)}


def _rows(metric: str, side: Scores) -> dict[int, Sequence[float]]:
    """Give a side's example scores by position."""
    listed = enumerate(side.examples.get(metric, ()))
    return {at: rows for at, rows in listed if at not in side.unread and _is_left(rows)}


def _is_left(rows: Sequence[float] | None) -> bool:
    return rows is not None and len(rows) > 0


def is_score(value: float) -> bool:
    """Say whether a value is finite, and no larger than a score can be."""
    return abs(value) <= LARGEST


def _contradiction(value: float, scores: Sequence[float]) -> str | None:
    """Say why a metric is not the mean of its example scores, None if it is."""
    import numpy as np

    row = np.asarray(scores, dtype=float)
    finite = np.abs(row) <= LARGEST
    if not finite.all():
        wrong = int(np.argmin(finite))
        return (
            f"which is not the mean of its example scores: score {wrong + 1:,} of {len(row):,} is "
            f"{number(float(row[wrong]))}"
        )
    mean, size = float(row.mean()), float(np.abs(row).mean())
    if abs(value - mean) <= _AGREES * max(abs(value), size):
        return None
    return f"which is not the mean of its example scores, {number(mean, DIGITS)}"
