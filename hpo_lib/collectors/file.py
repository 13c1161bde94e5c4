"""Metrics from a file in which a trial writes lines as it might have printed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hpo_lib.collectors import Sighting, Source
from hpo_lib.collectors.stdout import LineRules, tally
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import below
from hpo_lib.spec.sections import Metrics

_DEFAULT_PATH = "metrics.log"


class FileCollector:
    """Reads `path`, relative to the attempt's output folder, by the rules of `stdout`."""

    def __init__(self, settings: Metrics) -> None:
        """Take path, format and definitions, valid by the spec."""
        self._path = settings.path or _DEFAULT_PATH
        self._rules = LineRules(settings)

    @property
    def unreadable(self) -> Mapping[str, str]:
        """By metric, why its values are not to be relied on."""
        return self._rules.unreadable

    @property
    def remarks(self) -> Sequence[str]:
        """What was not read, and why."""
        return self._rules.remarks

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the file."""
        place = below(source.output, self._path)
        if place is not None:
            yield from self._rules.read(place, wanted)

    def tally(self, source: Source, wanted: frozenset[str]) -> Counter[str]:
        """Count the values of wanted metrics that each known format would read."""
        place = below(source.output, self._path)
        return Counter() if place is None else tally(place, wanted)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield what looks like a metric in the file."""
        place = below(source.output, self._path)
        if place is not None:
            yield from self._rules.sightings(place)
