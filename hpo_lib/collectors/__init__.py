"""Collectors: how an attempt's metrics are read. One file each, registered in `hpo_lib.registry`.

A collector yields observations; `reduce` makes one value per metric of them. One of your own, which
reads lines such as `loss 0.5`:

    class WordsCollector:
        def __init__(self, settings):
            self._path = settings.path or "metrics.txt"

        def collect(self, source, wanted):
            place = below(source.output, self._path)
            for line in lines(place) if place else ():
                name, _, text = line.partition(" ")
                value = to_float(text)
                if name in wanted and value is not None:
                    yield Observation(name, value)

With `HPO_COLLECTORS=package` a spec may name `package.module:WordsCollector` as its collector.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hpo_lib.core.trial import Observation
from hpo_lib.files.places import Place
from hpo_lib.spec import Spec
from hpo_lib.spec.sections import Metrics, Objective

#: Observations kept of one metric: an evenly thinned series, never without its last and best.
MAX_PER_METRIC = 1_000


@dataclass(frozen=True, slots=True)
class Source:
    """An ended attempt's log and output folder; neither has to exist.

    Each may lie on a disk or in an object store.
    """

    log: Place
    output: Place


class Collector(Protocol):
    """Reads the wanted metrics in the order in which they were written, and skips all else.

    A missing file has no metrics. Raises TransientError if a store cannot be reached, TrialFailed
    if it cannot do what the spec says.
    """

    def __init__(self, settings: Metrics) -> None: ...

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics, NaN and infinities included."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """What looks like a metric in what a collector reads, whether wanted or not.

    `read` says whether the collector reads it, if it is wanted; `text` is what it stands in.
    """

    name: str
    read: bool
    text: str
    line: int | None = None


class Telling(Protocol):
    """A collector that also lists what looks like a metric, for people who look for theirs."""

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield all that looks like a metric, in order."""
        ...


def wanted(spec: Spec) -> frozenset[str]:
    """Name the metrics that a trial is read for."""
    named = {*spec.goal.metrics, *spec.extra_metrics}
    if spec.deploy is not None:
        named |= {guard.metric for guard in spec.deploy.guards}
        named |= {spec.deploy.metric} if spec.deploy.metric else set()
    return frozenset(named)


def from_json(line: str) -> dict[str, float]:
    """Read the numbers of a JSON object, and of an object `metrics` inside it; else none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    inner = record.get("metrics")
    merged = {**record, **(inner if isinstance(inner, Mapping) else {})}
    found = {str(name): _number(value) for name, value in merged.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
        return None
    return to_float(value)


def to_float(value: str | float) -> float | None:
    """Read a number; None for anything else, infinite if it is too large for a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def plain(seen: Observation) -> Observation:
    """Turn an observation's numbers into float and int: a collector may have used NumPy's."""
    if type(seen.value) is float and (seen.step is None or type(seen.step) is int):
        return seen
    step = None if seen.step is None else int(seen.step)
    return replace(seen, value=float(seen.value), step=step)


def whole(value: float | None) -> int | None:
    """Give a step as int if it is one."""
    return int(value) if value is not None and value % 1 == 0 else None


def reduce(
    observations: Iterable[Observation], objectives: Sequence[Objective]
) -> dict[str, float]:
    """Give one value per metric: the last one, or with `reduce: best` an objective's best.

    NaN counts as a last value, but is the best only where there is nothing else. If the first
    objective is reduced to its best, metrics that are no objective are taken from that step if
    they have it.
    """
    series: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        series[observation.metric].append(observation)
    values = {name: found[-1].value for name, found in series.items()}
    known = [objective for objective in objectives if objective.metric in series]
    bests = {o.metric: _best(series[o.metric], o) for o in known if o.reduce == "best"}
    if objectives[0].metric in bests:
        step = bests[objectives[0].metric].step
        for name in series.keys() - {objective.metric for objective in objectives}:
            at_best = [o.value for o in series[name] if o.step == step and step is not None]
            values[name] = at_best[-1] if at_best else values[name]
    return values | {name: best.value for name, best in bests.items()}


def thinned(
    observations: Iterable[Observation], objectives: Sequence[Objective]
) -> list[Observation]:
    """Keep at most MAX_PER_METRIC of each metric, among them every one that `reduce` needs.

    The observations are read once and never held in full: a trial may print millions.
    """
    by_metric = {objective.metric: objective for objective in objectives}
    first = objectives[0].metric
    series: dict[str, _Thinned] = {}
    for observation in observations:
        name = observation.metric
        if name not in series:
            series[name] = _Thinned(by_metric.get(name))
        series[name].add(observation)
        if first not in series:
            continue
        best = series[first].best
        for found in series.values() if best is observation else [series[name]]:
            found.pin(best.step)
    return [observation for found in series.values() for observation in found.kept()]


#: An observation and its place in its series; _NOWHERE if there is none yet.
_Place = tuple[int, Observation]
_NOWHERE: _Place = (-1, Observation("", math.nan))


class _Thinned:
    """An evenly thinned series: every n-th value, n doubled whenever too many are held."""

    def __init__(self, objective: Objective | None) -> None:
        self._objective, self._stride, self._count = objective, 1, 0
        self._held: dict[int, Observation] = {}
        self._last = self._best = self._pinned = _NOWHERE

    @property
    def best(self) -> Observation:
        """The objective's best value so far."""
        return self._best[1]

    def add(self, observation: Observation) -> None:
        """Take the next value."""
        self._last = (self._count, observation)
        if self._objective and _better(observation, self._best, self._objective):
            self._best = self._last
        if self._count % self._stride == 0:
            self._held[self._count] = observation
        if len(self._held) > MAX_PER_METRIC - 3:
            self._stride *= 2
            self._held = {i: o for i, o in self._held.items() if i % self._stride == 0}
        self._count += 1

    def pin(self, step: int | None) -> None:
        """Keep the last value if it is of this step, and drop one kept for another step."""
        if step is not None and self._last[1].step == step:
            self._pinned = self._last
        elif self._pinned[1].step != step:
            self._pinned = _NOWHERE

    def kept(self) -> list[Observation]:
        """List what is kept, in the order of the series."""
        extra = dict(p for p in (self._last, self._best, self._pinned) if p is not _NOWHERE)
        return [observation for _, observation in sorted((self._held | extra).items())]


def _better(new: Observation, best: _Place, objective: Objective) -> bool:
    if not math.isfinite(new.value):
        return False
    return best is _NOWHERE or objective.direction.better(new.value, than=best[1].value)


def _best(series: Sequence[Observation], objective: Objective) -> Observation:
    finite = [o for o in series if math.isfinite(o.value)]
    if not finite:
        return series[-1]
    return min(finite, key=lambda o: objective.direction.loss(o.value))
