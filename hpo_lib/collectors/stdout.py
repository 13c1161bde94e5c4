"""Metrics from what a trial prints: `name=value` anywhere in a line, or a JSON object as a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source, from_json, to_float
from hpo_lib.lines import lines
from hpo_lib.places import Place
from hpo_lib.spec import Metrics
from hpo_lib.trial import Observation

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
DEFAULT = rf"(?<![\w./-])(?P<name>[A-Za-z_][\w./-]*)\s?=\s?(?P<value>{_NUMBER})(?![\w.])"
#: What a person takes for a metric, such as `loss: 0.5` or `'loss': 0.5`.
_LOOSE = re.compile(
    rf"(?<![\w./-])(?P<name>[A-Za-z_][\w./-]*)[\"']?\s*(?:[:=]|=>|->)\s*[\"']?{_NUMBER}(?![\w.])"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MAX_LINE = 4_096
_STEPS = ("step", "epoch")


class StdoutCollector:
    """Reads the attempt's log, by LineRules."""

    def __init__(self, settings: Metrics) -> None:
        """Take the format, valid by the spec."""
        self._rules = LineRules(settings.format)

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the log."""
        return self._rules.read(source.log, wanted)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield what looks like a metric in the log."""
        return self._rules.sightings(source.log)


class LineRules:
    """How metrics are read from lines: by `format` (groups `name` and `value`), or else DEFAULT.

    A `step=` or `epoch=` in the same line is the step of its values. Of a line longer than 4,096
    characters only the end is read.
    """

    def __init__(self, form: str | None) -> None:
        self._format = re.compile(form or DEFAULT)

    def read(self, place: Place, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of a file."""
        for line in lines(place):
            if any(name in line for name in wanted):
                yield from self._values(line, wanted)

    def _values(self, line: str, wanted: frozenset[str]) -> Iterator[Observation]:
        pairs = self.pairs(line)
        step = next(
            (int(v) for n, v in pairs if n in _STEPS and v is not None and v % 1 == 0), None
        )
        for name, value in pairs:
            if name in wanted:
                yield Observation(metric=name, value=value, step=step)

    def sightings(self, place: Place) -> Iterator[Sighting]:
        """Yield what looks like a metric in a file, also where the format passes it over."""
        for number, line in enumerate(lines(place), start=1):
            read = {name for name, _ in self.pairs(line)}
            text = _COLOUR.sub("", line[-_MAX_LINE:]).strip()
            for name in dict.fromkeys([*read, *(match["name"] for match in _LOOSE.finditer(text))]):
                yield Sighting(name, name in read, text, number)

    def pairs(self, line: str) -> list[tuple[str, float]]:
        """List all names and numbers of a line, wanted or not."""
        line = _COLOUR.sub("", line[-_MAX_LINE:]).strip()
        pairs = list(from_json(line).items()) if line.startswith("{") else []
        return pairs or list(self._matches(line))

    def _matches(self, line: str) -> Iterator[tuple[str, float]]:
        for match in self._format.finditer(line):
            value = to_float(match["value"])
            if value is not None:
                yield match["name"], value
