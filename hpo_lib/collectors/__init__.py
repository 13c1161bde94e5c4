"""Collectors: how an attempt's metrics are read. One file each, registered in `hpo_lib.registry`.

A collector yields observations, of which `summary` makes one value per metric. One of your own,
which reads lines such as `loss 0.5`:

    class WordsCollector:
        def __init__(self, settings):
            self._path = settings.path or "metrics.txt"

        def collect(self, source, wanted):
            for line in lines(below(source.output, self._path)):
                name, _, text = line.partition(" ")
                value = to_float(text)
                if name in wanted and value is not None:
                    yield Observation(name, value)

With `HPO_COLLECTORS=package` a spec may name `package.module:WordsCollector` as its collector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hpo_lib.collectors.formats.json_lines import object_in
from hpo_lib.collectors.numbers import to_float as to_float
from hpo_lib.collectors.numbers import whole as whole
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import Place
from hpo_lib.spec import Spec
from hpo_lib.spec.sections import Metrics


@dataclass(frozen=True, slots=True)
class Source:
    """An attempt's log and output folder; neither has to exist.

    Each may lie on a disk or in an object store. While the attempt runs they are `growing`: what
    stands at the end of a file may be half of a number.
    """

    log: Place
    output: Place
    growing: bool = False


class Collector(Protocol):
    """Reads the wanted metrics in the order in which they were written, and skips all else.

    A missing file has no metrics. Raises TransientError if a store cannot be reached, TrialFailed
    if it cannot do what the spec says, or a file leads out of the output, as `below` sees to.
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
    """Read the numbers of a JSON object, also of objects inside it, by name; else none."""
    found = object_in(line)
    if found is None:
        return {}
    step = {} if found.step is None else {"step": float(found.step)}
    return step | {name: value for name, (value, _) in found.values if value is not None}


def plain(seen: Observation) -> Observation:
    """Turn an observation's numbers into float and int: a collector may have used NumPy's."""
    if type(seen.value) is float and (seen.step is None or type(seen.step) is int):
        return seen
    step = None if seen.step is None else int(seen.step)
    return seen._replace(value=float(seen.value), step=step)
