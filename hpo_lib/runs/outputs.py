"""What a run leaves: its report, and the artifacts that its spec keeps."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

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
from hpo_lib.runs import forms
from hpo_lib.runtime.room import Room
from hpo_lib.store import Store

RECORD = "result.json"
#: Who writes a report holds this file, which says when it was last written and how long that took.
_LOCK = ".report"
_EVERY_S, _SHARE = 60.0, 0.05
#: Makes the files of a report, by name.
Making = Callable[[RunView], Iterable[tuple[str, bytes]]]


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


def write_report(
    store: Store, run: Run, installation: Installation, made: Making = forms.made
) -> Path:
    """Write a run's report in all of its forms into the run's folder; give the path of the page.

    The tasks `report` and `deploy`, and slots, may do so at the same time: each file is written in
    one step, and again if the run or its model has changed meanwhile.
    """
    from hpo_lib import report

    view, path = store.view(run.id, report.looked_at), report_path(run, installation)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        for name, content in made(view):
            artifacts.write(path.with_name(name), content)
        written, view = view, store.view(run.id, report.looked_at)
        if (view.run, view.model) == (written.run, written.model):
            return path


def refresh_report(store: Store, run: Run, installation: Installation) -> bool:
    """Write the report of a run that goes on anew if that is due, and say whether it was.

    It is due a minute after it was last written, and not before so much time has passed that
    writing it takes a twentieth of all time. One process at a time writes, others go on.
    """
    folder = report_path(run, installation).parent
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(opened, "r+", encoding="utf-8", errors="replace") as noted:
        if not _alone(noted):
            return False
        if not _is_due(noted.read(), run, time.time()):
            return False
        began = time.monotonic()
        try:
            write_report(store, run, installation, forms.made_apart)
            keep_report(run, installation)
        finally:  # What cannot be written is not tried by every trial.
            noted.seek(0)
            noted.truncate()
            # Not rounded: up, it would lie in the future, as of a clock that was put back.
            noted.write(f"{time.time()!r} {time.monotonic() - began:.3f}")
        return True


def _alone(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_due(noted: str, run: Run, now: float) -> bool:
    """Say whether it is time: `noted` is when the report was last written, and how long it took."""
    written = re.fullmatch(r"(\d+\.\d+) (\d+\.\d+)", noted)
    last, took_s = map(float, written.groups()) if written else (run.started_at.timestamp(), 0.0)
    return not 0 <= now - last < max(_EVERY_S, took_s / _SHARE)


def keep_report(run: Run, installation: Installation) -> None:
    """Copy a run's report to where its spec keeps artifacts, if anywhere; TransientError."""
    if run.spec.artifacts is None:
        return
    path = report_path(run, installation)
    folder = artifacts.kept_at(run_uri(run.spec.artifacts.uri, run), installation.artifacts)
    for name in forms.FORMS:
        if path.with_name(name).exists():
            artifacts.put(path.with_name(name), below(folder, name))


def report_path(run: Run, installation: Installation) -> Path:
    """Say where a run's report is, or will be."""
    return installation.home / "runs" / slug_of(run) / "report.html"


def keep_artifacts(
    store: Store, run: Run, installation: Installation, protected: Collection[int] = ()
) -> None:
    """Keep of an ended run's artifacts what its spec says; TransientError, nothing is lost.

    What is kept and lies on a disk is uploaded, what is not kept is deleted from the object store;
    every attempt's record stays there, and so does the report, if it has been written. `protected`
    are trials that are kept whatever the spec says.
    """
    spec = run.spec
    if spec.artifacts is None:
        return
    keep_report(run, installation)
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
