"""What Katib's examples print: `{metricName: accuracy, metricValue: 0.98};{metricName: …}`."""

from __future__ import annotations

import re

from hpo_lib.collectors.formats import Reading, step_in
from hpo_lib.collectors.numbers import number_in

_PAIR = re.compile(
    r"\{\s?\"?metricName\"?:\s?\"?([^,{}\"]{1,128})\"?,\s?\"?metricValue\"?:\s?\"?([^{}\"]+)\"?\s?\}"
)


class Katib:
    """Reads any number of pairs in a line, after whatever a logger puts in front."""

    rank, needles, marks = 0, (), ("metricName",)

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read the pairs."""
        pairs = [(name.strip(), number_in(text)) for name, text in _PAIR.findall(line)]
        values = [(name, number) for name, number in pairs if number is not None]
        return Reading(values, step_in(line), inner=line) if values else None
