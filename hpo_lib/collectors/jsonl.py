"""Metrics from a file of JSON lines, such as `hpo_lib.runtime.report` writes."""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source, from_json, whole
from hpo_lib.core.trial import Observation
from hpo_lib.files.lines import lines
from hpo_lib.files.places import below
from hpo_lib.spec.sections import Metrics

_DEFAULT_PATH = "metrics.jsonl"


class JsonlCollector:
    """Reads `{"step": 3, "time": …, "metrics": {"loss": 0.1}}` or flat `{"step": 3, "loss": 0.1}`.

    `path` is relative to the attempt's output folder; NaN and infinities may be text.
    """

    def __init__(self, settings: Metrics) -> None:
        """Take the path, valid by the spec."""
        self._path = settings.path or _DEFAULT_PATH

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the file."""
        place = below(source.output, self._path)
        for line in lines(place) if place else ():
            values = from_json(line)
            step = whole(values.get("step", values.get("epoch")))
            for name in sorted(wanted & values.keys()):
                yield Observation(name, values[name], step=step, time=values.get("time"))

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every number of every line."""
        place = below(source.output, self._path)
        for number, line in enumerate(lines(place) if place else (), start=1):
            for name in from_json(line):
                yield Sighting(name, True, line, number)
