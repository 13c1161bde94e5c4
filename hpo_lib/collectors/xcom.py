"""Metrics from the JSON that a container returns to Airflow.

A pod writes /airflow/xcom/return.json, an Airflow task returns a value: whoever runs the attempt
puts that JSON into its output folder as `return.json`, where it outlives pod and XCom and can be
collected again.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source, from_json, whole
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import below, tail
from hpo_lib.spec.sections import Metrics

RETURNED = "return.json"
_MAX_BYTES = 1 << 24


class XcomCollector:
    """Reads one JSON object, as `jsonl` reads a line."""

    def __init__(self, settings: Metrics) -> None:
        """Take no settings."""

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield the wanted metrics in the order of their names."""
        values = from_json(_returned(source))
        step = whole(values.get("step", values.get("epoch")))
        for name in sorted(wanted & values.keys()):
            yield Observation(name, values[name], step=step, time=values.get("time"))

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every number."""
        returned = _returned(source)
        yield from (Sighting(name, True, returned) for name in from_json(returned))


def _returned(source: Source) -> str:
    place = below(source.output, RETURNED)
    return tail(place, _MAX_BYTES).decode(errors="replace") if place else ""
