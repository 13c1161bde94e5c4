"""What a run leaves: its report, and the artifacts that its spec keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hpo_lib.backends import AttemptName
from hpo_lib.core.trial import TrialState
from hpo_lib.files import artifacts
from hpo_lib.files.artifacts import write
from hpo_lib.files.inside import Inside
from hpo_lib.files.places import Place, below, is_on_disk, reaching
from hpo_lib.installation import Installation, backend_of
from hpo_lib.records import (
    UNREAD,
    Attempt,
    Run,
    RunView,
    TrialView,
    attempt_uri,
    run_uri,
    slug_of,
)
from hpo_lib.runtime.room import Room
from hpo_lib.store import Store

RECORD = "result.json"


def record_of(run: Run, view: TrialView, attempt: Attempt) -> dict[str, Any]:
    """Give what is worth knowing of an attempt without the store, as plain JSON."""
    trial, newest = view.trial, attempt == view.attempts[-1]
    return {
        "experiment": run.experiment,
        "run": run.id,
        "trial": trial.number,
        "attempt": attempt.number,
        "params": {**run.spec.fixed, **trial.params},
        "state": str(attempt.state),
        "cause": None if attempt.cause is None else str(attempt.cause),
        "reason": attempt.reason,
        "exit_code": attempt.exit_code,
        "metrics": {name: _plain(value) for name, value in trial.metrics.items()} if newest else {},
        "started_at": attempt.started_at.isoformat(),
        "ended_at": None if attempt.ended_at is None else attempt.ended_at.isoformat(),
        "versions": run.provenance.dump(),
    }


def _plain(value: float) -> float | str:
    """Write a value that JSON has no number for as text, as the runtime does."""
    return value if math.isfinite(value) else str(value)


def write_record(folder: Place, record: Mapping[str, Any]) -> None:
    """Write `result.json` into an attempt's folder; TransientError."""
    with reaching(folder):
        write(below(folder, RECORD), json.dumps(record, indent=2, sort_keys=True).encode())


def retain(
    view: RunView, keep: str, protected: Collection[int] = ()
) -> tuple[list[Attempt], list[Attempt]]:
    """Split a run's attempts into those whose folders are kept and those to be deleted.

    `keep` is the spec's word: `best` keeps the newest attempt of every trial on the front, `all`
    and `none` mean what they say. Always kept are the attempts of `protected` trials, of the trial
    that made the run's model, of final trials that the gate has yet to judge, and those whose
    objective was not found, so that it can be read again. Trials that still run are in neither.
    """
    best = set(view.front)
    if view.model is not None and view.model.trial is not None:
        protected = {*protected, view.model.trial}
    if view.model is not None and view.model.awaits_verdict:
        protected = {*protected, *(one.trial.number for one in view.finals)}
    kept: list[Attempt] = []
    doomed: list[Attempt] = []
    for one in [*view.trials, *view.finals]:
        if one.trial.state in (TrialState.RUNNING, TrialState.WAITING):
            continue
        for attempt in one.attempts:
            chosen = keep == "best" and one.trial.number in best and attempt == one.attempts[-1]
            needed = one.trial.number in protected or attempt.cause in UNREAD
            stays = keep == "all" or chosen or needed
            (kept if stays else doomed).append(attempt)
    return kept, doomed


def write_report(store: Store, run: Run, installation: Installation) -> Path:
    """Write report.html and trials.csv into the run's folder, and give the report's path.

    The tasks `report` and `deploy` may do so at the same time: each file is written in one step,
    and again if the run or its model has changed meanwhile.
    """
    from hpo_lib import report

    view, path = store.view(run.id), report_path(run, installation)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        artifacts.write(path.with_name("trials.csv"), report.csv(view).encode())
        artifacts.write(path, report.html(view).encode())
        written, view = view, store.view(run.id)
        if (view.run, view.model) == (written.run, written.model):
            return path


def report_path(run: Run, installation: Installation) -> Path:
    """Say where a run's report is, or will be."""
    return installation.home / "runs" / slug_of(run) / "report.html"


def keep_artifacts(
    store: Store, run: Run, installation: Installation, protected: Collection[int] = ()
) -> None:
    """Keep of an ended run's artifacts what its spec says; TransientError, nothing is lost.

    What is kept and lies on a disk is uploaded, what is not kept is deleted from the object store;
    every attempt's record stays there. `protected` are trials that are kept whatever the spec says.
    """
    spec = run.spec
    if spec.artifacts is None:
        return
    view = store.view(run.id)
    search, last = installation.backend(spec), installation.backend(spec.for_final)
    found = [(one, search) for one in view.trials] + [(one, last) for one in view.finals]
    of = {one.trial.number: (one, backend) for one, backend in found}
    kept, doomed = retain(view, spec.artifacts.keep, protected)
    for attempt in [*kept, *doomed]:
        trial, backend = of[attempt.trial]
        folder = _folder(spec.artifacts.uri, run, attempt, installation)
        if attempt in doomed:
            artifacts.delete(folder)
        else:
            _upload(backend.output(attempt.handle), folder)
        write_record(folder, record_of(run, trial, attempt))


def keep_output(store: Store, run: Run, number: int, installation: Installation) -> None:
    """Upload the output of a trial's last attempt to where the spec keeps it; TransientError."""
    spec = run.spec
    if spec.artifacts is None:
        return
    attempt = store.attempts(run.id, number)[-1]
    backend = backend_of(run, store.trial(run.id, number), installation)
    _upload(backend.output(attempt.handle), _folder(spec.artifacts.uri, run, attempt, installation))


def delete(store: Store, run: Run, installation: Installation) -> None:
    """Delete all files of a run, below its artifacts' URI and in this home; TransientError.

    Stores that share a home may have folders of one name: there only this store's attempts go.
    """
    if (uri := run.outline.artifacts_uri) is not None:
        artifacts.delete(artifacts.kept_at(run_uri(uri, run), installation.artifacts))
    folder = Inside(Room(str(installation.home / "runs")), slug_of(run))
    view = store.view(run.id)
    for one in [*view.trials, *view.finals]:
        for attempt in one.attempts:
            name = AttemptName(store.id, folder.path, one.trial.number, attempt.number)
            way = name.folder(installation.home).relative_to(installation.home / "runs")
            artifacts.delete(Inside(folder.room, str(way)))
    if not any(one.name.startswith("trial-") for one in folder.entries()):
        artifacts.delete(folder)


def _folder(uri: str, run: Run, attempt: Attempt, installation: Installation) -> Place:
    return artifacts.kept_at(
        attempt_uri(uri, run, attempt.trial, attempt.number), installation.artifacts
    )


def _upload(output: Place, folder: Place) -> None:
    if is_on_disk(output):
        artifacts.upload(output, folder)
