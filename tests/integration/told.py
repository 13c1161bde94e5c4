"""What a store tells of all that it holds, as plain JSON, to be compared with what another told.

It names the fields that are compared, by type: what a later version adds is no part of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Any

#: The slots that a run may have asked for.
SLOTS = (*(f"wave-{number:02d}" for number in range(1, 7)), "final", "end")
FIELDS = {
    "Run": "id key experiment status spec reason triggered_by provenance started_at ended_at "
    "earlier fingerprint",
    "Trial": "number params state value cause reason origin metrics duration_s repeat reused",
    "Attempt": "id run_id trial number handle state started_at cause reason exit_code ended_at "
    "log_tail",
    "Observation": "metric value step time",
    "Assignment": "trial params origin resource resume_from repeat",
    "Decision": "action reason failed",
    "Lease": "assignments stop reused",
    "Batch": "assignments stop reused",
    "Earlier": "trials weight",
    "Past": "run trials age_s",
    "TrialView": "trial slot attempts observations",
    "Model": "experiment version run_id source params status reason created_at changed_at against "
    "served trial files metrics manifest verdict",
    "ModelEvent": "version status reason time",
}


def _judged(model: Any) -> dict[str, Any] | None:
    """Give the verdict with what stands beside it in its column."""
    found = {} if model.verdict is None else model.verdict.dump()
    if model.approved is not None:
        found["approved"] = model.approved
    if model.checks:
        found["nights"] = [check.dump() for check in model.checks]
    return found or None


#: What this version keeps otherwise, as the former told it.
AS_BEFORE: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("Run", "spec"): lambda run: run.document,
    ("Run", "earlier"): lambda run: run.advice.dump(),
    ("Model", "manifest"): lambda model: model.manifest.document,
    ("Model", "verdict"): _judged,
}


def plain(value: Any) -> Any:
    """Turn a value of the library into JSON that has no NaN."""
    named = _named(value)
    if isinstance(named, Mapping):
        return {str(key): plain(one) for key, one in named.items()}
    if isinstance(named, Sequence) and not isinstance(named, str):
        return [plain(one) for one in named]
    return _scalar(named)


def _named(value: Any) -> Any:
    """Turn what has fields into a mapping of those that are compared."""
    kind = type(value).__name__
    if (names := FIELDS.get(kind)) is not None:
        getters = {name: AS_BEFORE.get((kind, name), attrgetter(name)) for name in names.split()}
        return {name: get(value) for name, get in getters.items()}
    if hasattr(value, "dump"):
        return value.dump()
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else value


def told(store: Any) -> dict[str, Any]:
    """Ask a store for everything, by its public methods."""
    runs = sorted(store.runs(1000), key=lambda run: run.id)
    names = store.models.experiments()
    past = store.past(sorted({run.experiment for run in runs if run.experiment}), 1000)
    return {
        "id": store.id,
        "running": [run.id for run in store.running()],
        "past": [(one.run.id, len(one.trials), one.age_s) for one in past],
        "runs": [_of_run(store, run) for run in runs],
        "models": {name: _of_models(store, name) for name in names},
    }


def _of_run(store: Any, run: Any) -> dict[str, Any]:
    view, history = store.view(run.id), store.history(run.id)
    batches = {slot: plain(store.batch_of(run.id, slot)) for slot in SLOTS}
    model = store.models.of_run(run.id)
    return {
        "run": plain(run),
        "trials": plain([*view.trials, *view.finals]),
        "history": [one.number for one in history.trials],
        "elapsed_s": history.elapsed_s,
        "advised_by": plain(history.earlier),
        "front": list(view.front),
        "feasible": list(view.feasible),
        "batches": {slot: batch for slot, batch in batches.items() if batch is not None},
        "stop": plain(store.stop_of(run.id)),
        "model": None if model is None else model.version,
        "saw": None if view.champion is None else view.champion.version,
    }


def _of_models(store: Any, experiment: str) -> dict[str, Any]:
    champion = store.models.champion(experiment)
    return {
        "models": plain(store.models.of(experiment)),
        "champion": None if champion is None else champion.version,
        "events": plain(store.models.events(experiment)),
    }
