"""Metrics from the JSON that a container returns to Airflow.

A trial writes `return.json` into its output folder, or its container /airflow/xcom/return.json:
of a backend whose row in the registry says so (`returns`) that comes into the output folder, where
it outlives pod and XCom and can be collected again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from hpo_lib.collectors import Sighting, Source, from_json
from hpo_lib.collectors.formats import asked
from hpo_lib.collectors.formats.json_lines import object_in
from hpo_lib.core.trial import Observation
from hpo_lib.files.places import below, tail
from hpo_lib.spec.sections import Metrics

RETURNED = "return.json"
_MAX_BYTES, _SHOWN = 1 << 24, 10
#: What Kubernetes keeps of a container's message is shared by the containers of a pod.
_LEAST_CUT = 1_024
_CUT = (
    "Kubernetes keeps at most 4,096 bytes of what a container returns, and 12,288 of a whole pod: "
    "return fewer metrics, or write them to HPO_OUTPUT (collector: jsonl, with artifacts.uri)"
)


class XcomCollector:
    """Reads one JSON object, as `jsonl` reads a line."""

    def __init__(self, settings: Metrics) -> None:
        """Take no settings."""

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield the wanted metrics in the order of their names."""
        found = object_in(_returned(source))
        if found is None:
            return
        for printed, (value, _) in sorted(dict(found.values).items()):
            name = asked(printed, wanted)
            if name is not None and value is not None:
                yield Observation(name, value, step=found.step, time=found.time, line=0)

    @staticmethod
    def lacking(source: Source) -> str:
        """Say why a metric was not there: nothing was returned, no JSON, too much, or others."""
        text = _returned(source)
        if not text.strip():
            return f"nothing was returned: {RETURNED} is missing or empty in {source.output}"
        if _is_object(text):
            names = sorted(from_json(text))
            more = ", …" if names[_SHOWN:] else ""
            return f"{RETURNED} has {', '.join(names[:_SHOWN]) or 'no number'}{more}"
        size = len(text.encode())
        cut = f"; {_CUT}" if size >= _LEAST_CUT else ""
        return f"{RETURNED} must be one JSON object of metric to number, got {size:,} bytes{cut}"

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield every number."""
        returned = _returned(source)
        yield from (Sighting(name, True, returned) for name in from_json(returned))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _returned(source: Source) -> str:
    return tail(below(source.output, RETURNED), _MAX_BYTES).decode(errors="replace")
