"""Metrics from the JSON that a container returns to Airflow.

A pod writes /airflow/xcom/return.json, an Airflow task returns a value: whoever runs the attempt
puts that JSON into its output folder as `return.json`, where it outlives pod and XCom and can be
collected again.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpo_lib.collectors import Source, from_json, whole
from hpo_lib.places import below, tail
from hpo_lib.spec import Metrics
from hpo_lib.trial import Observation

RETURNED = "return.json"
_MAX_BYTES = 1 << 24


class XcomCollector:
    """Reads one JSON object, as `jsonl` reads a line."""

    def __init__(self, settings: Metrics) -> None:
        """Take no settings."""

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield the wanted metrics in the order of their names."""
        place = below(source.output, RETURNED)
        content = tail(place, _MAX_BYTES) if place else b""
        values = from_json(content.decode(errors="replace"))
        step = whole(values.get("step", values.get("epoch")))
        for name in sorted(wanted & values.keys()):
            yield Observation(name, values[name], step=step, time=values.get("time"))
