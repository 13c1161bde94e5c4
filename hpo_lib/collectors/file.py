"""Metrics from a file in which a trial writes lines as it might have printed them."""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source
from hpo_lib.collectors.stdout import LineRules
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import below
from hpo_lib.spec.sections import Metrics

_DEFAULT_PATH = "metrics.log"


class FileCollector:
    """Reads `path`, relative to the attempt's output folder, by the rules of `stdout`."""

    def __init__(self, settings: Metrics) -> None:
        """Take path and format, valid by the spec."""
        self._path = settings.path or _DEFAULT_PATH
        self._rules = LineRules(settings.format)

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the file."""
        place = below(source.output, self._path)
        if place is not None:
            yield from self._rules.read(place, wanted)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield what looks like a metric in the file."""
        place = below(source.output, self._path)
        if place is not None:
            yield from self._rules.sightings(place)
