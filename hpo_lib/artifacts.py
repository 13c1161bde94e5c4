"""What attempts leave in an object store: where it lies, its record, and what is kept of it.

Storage options hold credentials. They come from the deployment, go to fsspec, and are never
written, shown or put into a message.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import SpecError, TransientError
from hpo_lib.places import Place, files, reaching, said
from hpo_lib.record import UNREAD, Attempt, Run, RunView, TrialView
from hpo_lib.trial import TrialState

if TYPE_CHECKING:
    from upath import UPath

RECORD = "result.json"
_EXTRAS = {"s3": "s3fs: pip install 'hpo-lib[s3]'", "gs": "gcsfs", "abfs": "adlfs"}
#: Object stores whose listings fsspec keeps, although other processes write to them.
_LISTED = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")

Options = Mapping[str, Any]
#: What a deployment offers: URIs below which artifacts may lie, and how to get there.
Offers = Mapping[str, Callable[[], Options]]


def offers(places: Mapping[str, str | None], options_of: Callable[[str], Options]) -> Offers:
    """Take URIs with the connection that leads there, if any.

    `options_of` is asked for a connection's storage options only when a spec needs them.
    """
    return {uri: partial(options_of, name) if name else dict for uri, name in places.items()}


def offer_of(uri: str, offers: Offers) -> str | None:
    """Name the longest offer that a URI lies below, None if there is none."""
    fitting = [offer for offer in offers if f"{uri}/".startswith(f"{offer.rstrip('/')}/")]
    return max(fitting, key=len, default=None)


def options_for(uri: str, offers: Offers) -> Options:
    """Give the storage options of the longest offer that a URI lies below; SpecError if none is."""
    offer = offer_of(uri, offers)
    if offer is not None:
        return offers[offer]()
    if not offers:
        raise SpecError(
            "artifacts: this deployment offers no place for them; its operator can name URIs in "
            "config/deployment.yaml, or leave artifacts out"
        )
    raise SpecError(
        f"artifacts.uri: must lie below one of {', '.join(sorted(offers))}, got {uri}; the "
        "operator can name others in config/deployment.yaml"
    )


def open_folder(uri: str, options: Options, *, field: str = "artifacts.uri") -> UPath:
    """Give a folder, which does not have to exist; SpecError if fsspec cannot reach its kind.

    `field` is what the message calls the place.
    """
    from upath import UPath

    scheme, _, path = uri.partition("://")
    if scheme == "file":
        return UPath(path)
    listed = {"use_listings_cache": False} if scheme in _LISTED else {}
    settings: Any = {**listed, **options}
    try:
        folder: UPath = UPath(uri, **settings)
        _ = folder.fs
    except ImportError:
        needed = _EXTRAS.get(scheme, f"the fsspec package for {scheme}")
        raise SpecError(f"{field}: {scheme}:// needs {needed}") from None
    except ValueError as error:
        raise SpecError(f"{field}: {uri}: {said(error)}") from None
    return folder


def probe(uri: str, options: Options) -> None:
    """Prove that one may write, read and delete below a URI.

    SpecError if the credentials or the bucket are wrong, TransientError if nobody answers.
    """
    place = open_folder(uri, options) / f".hpo-probe-{uuid.uuid4().hex}"
    with explained(uri, "write"):
        write(place, b"hpo")
    with explained(uri, "read"):
        found = place.read_bytes()
    with explained(uri, "delete"):
        place.unlink()
    if found != b"hpo":
        raise TransientError(f"artifacts.uri: {uri}: what was written is not what is read")


@contextmanager
def explained(uri: str, deed: str, *, field: str = "artifacts.uri") -> Iterator[None]:
    """Say what an error of a store means for whoever wrote the spec."""
    begin = f"{field}: {uri}: cannot {deed} there"
    try:
        yield
    except FileNotFoundError as error:
        raise SpecError(f"{begin}: no such bucket or folder: {said(error)}") from None
    except Exception as error:
        if _is_refusal(error):
            raise SpecError(
                f"{begin}: the deployment's credentials are missing, wrong, or do not allow it: "
                f"{said(error)}"
            ) from None
        raise TransientError(f"{begin}: no answer, try again: {said(error)}") from None


def _is_refusal(error: Exception) -> bool:
    if (
        isinstance(error, PermissionError | TypeError | ValueError)
        or "Credential" in type(error).__name__
    ):
        return True
    return isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EPERM)


def write(place: Place, content: bytes) -> None:
    """Write a small file so that a reader sees all of it or nothing; TransientError."""
    if not isinstance(place, Path):
        place.write_bytes(content)  # a put is atomic in every object store
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(place)
    part.write_bytes(content)
    part.replace(place)


def _part_of(place: Path) -> Path:
    """Name a file that becomes another one, apart from everybody else's."""
    return place.with_name(f".{uuid.uuid4().hex}.part")


def put(path: Place, target: Place) -> None:
    """Copy a file of a disk so that a reader sees all of it or nothing; TransientError."""
    with reaching(target):
        if not isinstance(target, Path):
            target.fs.put_file(str(path), target.path)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part_of(target)
        shutil.copyfile(str(path), part)
        part.replace(target)


def upload(output: Path, folder: UPath) -> int:
    """Copy what a trial has left on a disk, links left out; gives the number of files.

    Done again, it writes the same again. What lies there already, on a disk that workers share,
    is not copied onto itself. TransientError if the store does not answer.
    """
    if isinstance(folder, Path) and folder.resolve() == output.resolve():
        return 0
    found = files(output)
    for path in found:
        put(path, folder / str(path).removeprefix(f"{output}/"))
    return len(found)


# The record


def record_of(run: Run, view: TrialView, attempt: Attempt) -> dict[str, Any]:
    """Give what is worth knowing of an attempt without the store, as plain JSON."""
    trial, newest = view.trial, attempt == view.attempts[-1]
    return {
        "experiment": run.experiment,
        "run": run.id,
        "trial": trial.number,
        "attempt": attempt.number,
        "params": {**run.spec.get("fixed", {}), **trial.params},
        "state": str(attempt.state),
        "cause": None if attempt.cause is None else str(attempt.cause),
        "reason": attempt.reason,
        "exit_code": attempt.exit_code,
        "metrics": {name: _plain(value) for name, value in trial.metrics.items()} if newest else {},
        "started_at": attempt.started_at.isoformat(),
        "ended_at": None if attempt.ended_at is None else attempt.ended_at.isoformat(),
        "versions": dict(run.provenance),
    }


def _plain(value: float) -> float | str:
    """Write what JSON has no number for as text, as the runtime does."""
    return value if math.isfinite(value) else str(value)


def write_record(folder: UPath, record: Mapping[str, Any]) -> None:
    """Write `result.json` into an attempt's folder; TransientError."""
    with reaching(folder):
        write(folder / RECORD, json.dumps(record, indent=2, sort_keys=True).encode())


# Retention


def retain(
    view: RunView, keep: str, protected: Collection[int] = ()
) -> tuple[list[Attempt], list[Attempt]]:
    """Part a run's ended attempts into those whose folders are kept and those to be deleted.

    `keep` is the spec's word: `best` keeps the newest attempt of every trial on the front, `all`
    and `none` mean what they say. Attempts of `protected` trials, and of the one that made the
    run's model, are always kept, also those of the final trials that the gate has yet to judge, and
    of trials whose objective was not found, so that it can be collected again. Those of trials that
    have not ended are in neither part.
    """
    best = set(view.front)
    if view.model is not None and view.model.trial is not None:
        protected = {*protected, view.model.trial}
    if view.model is not None and view.model.awaits_verdict:
        protected = {*protected, *(one.trial.number for one in view.finals)}
    kept: list[Attempt] = []
    doomed: list[Attempt] = []
    for one in [*view.trials, *view.finals]:
        if one.trial.state is TrialState.RUNNING:
            continue
        for attempt in one.attempts:
            chosen = keep == "best" and one.trial.number in best and attempt == one.attempts[-1]
            needed = one.trial.number in protected or attempt.cause in UNREAD
            stays = keep == "all" or chosen or needed
            (kept if stays else doomed).append(attempt)
    return kept, doomed


def delete(folder: Place) -> None:
    """Delete a folder with all in it; one that is gone already is fine. TransientError."""
    with reaching(folder):
        if isinstance(folder, Path):
            if folder.exists():
                shutil.rmtree(folder)
            return
        if found := [place.path for place in files(folder) if not isinstance(place, Path)]:
            folder.fs.rm(found)
