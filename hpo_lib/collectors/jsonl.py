"""Metrics from a file of JSON lines, such as `hpo_lib.runtime.report` writes."""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source
from hpo_lib.collectors.formats import Reading, asked
from hpo_lib.collectors.formats.json_lines import object_in
from hpo_lib.core.trial import Observation
from hpo_lib.files.lines import LONGEST, Line, numbered
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
        self.unreadable: dict[str, str] = {}
        self.remarks: list[str] = []

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the file."""
        for index, (line, reading) in enumerate(self._records(source)):
            for printed, (value, text) in sorted(dict(reading.values).items()):
                name = asked(printed, wanted)
                if name is None:
                    continue
                if value is not None:
                    yield Observation(name, value, reading.step, reading.time, index)
                elif name not in self.unreadable:
                    where = f"line {line.number} of {self._path}"
                    told = f"{name} must be wholly a number, got {text!r} in {where}"
                    self.unreadable[name] = told

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every number of every line."""
        for line, reading in self._records(source):
            for name, _ in reading.values:
                yield Sighting(name, True, line.text, line.number)

    def _records(self, source: Source) -> Iterator[tuple[Line, Reading]]:
        for line in numbered(below(source.output, self._path), growing=source.growing):
            if line.cut and not self.remarks:
                self.remarks.append(
                    f"line {line.number} of {self._path} is longer than {LONGEST:,} bytes: it "
                    "cannot be read"
                )
            found = object_in(line.text)
            if found is not None:
                yield line, found
