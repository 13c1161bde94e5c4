"""What a trial's result depends on besides its parameters, as one hash, before it is trained.

Trials with the same parameters, in runs with the same fingerprint, have the same result: one of
them is enough. What cannot be known is never taken for the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib import __version__
from hpo_lib.backends import Backend
from hpo_lib.collectors import wanted
from hpo_lib.errors import SpecError, TransientError, TrialFailed
from hpo_lib.files.artifacts import explained, offer_of, open_folder
from hpo_lib.files.inside import Inside
from hpo_lib.files.places import Place, listed, reaching, sha256
from hpo_lib.installation import Inputs
from hpo_lib.registry import load
from hpo_lib.runtime.room import Room, Unreadable
from hpo_lib.spec import Spec
from hpo_lib.spec.reuse import is_uri
from hpo_lib.validation import shown

if TYPE_CHECKING:
    from upath import UPath

_MAX_FILES = 100_000
#: Keys of `trial` that decide where a trial runs and when it is given up, not its result.
_NO_MATTER = {"timeout", "start_timeout", "stalled_after", "stop_grace", "spot"}
#: Properties of an object in a store that change with its content, the surest first.
_STAMPS = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
    "created",
)


def take(spec: Spec, inputs: Inputs) -> tuple[str | None, str | None]:
    """Give the fingerprint of a run that begins now, or else why nothing is reused.

    Both are None if the spec asks for no reuse. SpecError names a place that is not there or not
    allowed.
    """
    if spec.reuse is None:
        return None, None
    backend: type[Backend] = load("backend", spec.trial.backend)
    why = backend.unpinned(spec.trial)
    if why is not None:
        return None, f"no result is reused: {why}"
    looked_in = _with_own(spec, inputs)
    places = sorted(
        (at.rpartition(".")[0], named, _content(named, at, looked_in))
        for at, named in spec.reuse.places
    )
    return _hash(_program(spec) | {"places": places}), None


def _with_own(spec: Spec, inputs: Inputs) -> Inputs:
    """Look first where the spec's own trials run, which its backend has permitted."""
    if spec.trial.dir is None or not inputs.folders:
        return inputs
    return replace(inputs, folders=[inputs.folders[0] / spec.trial.dir, *inputs.folders])


def _program(spec: Spec) -> dict[str, Any]:
    """Give all of a spec that a trial's result depends on."""
    return {
        "hpo_lib": __version__,
        "trial": spec.trial.model_dump(mode="json", exclude_none=True, exclude=_NO_MATTER),
        "fixed": dict(spec.fixed),
        "seed": spec.sampler.seed,
        "scheduler": spec.scheduler.model_dump(mode="json"),
        "objectives": [one.model_dump(mode="json", exclude={"target"}) for one in spec.objectives],
        "metrics": spec.metrics.model_dump(mode="json"),
        "required": sorted(spec.goal.metrics),
        "wanted": sorted(wanted(spec)),
    }


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _content(named: str, at: str, inputs: Inputs) -> str:
    place = _offered(named, at, inputs) if is_uri(named) else _relative(named, at, inputs)
    stamps = _of_disk(place, at) if isinstance(place, Inside) else _of_store(place, at)
    files: dict[str, Any] = {}
    for name, stamp in stamps:
        files[name] = stamp
        if len(files) > _MAX_FILES:
            raise SpecError(f"{at}: must hold at most {_MAX_FILES:,} files, got {shown(named)}")
    if not files:
        raise SpecError(f"{at}: must be a file, or a folder with files, got {shown(named)}")
    return _hash(files)


def _relative(named: str, at: str, inputs: Inputs) -> Inside:
    """Find the first place of that name."""
    for folder in inputs.folders:
        if os.path.lexists(folder / named):
            return Inside(Room(str(folder)), named)
    raise SpecError(
        f"{at}: must be a file or folder where local trials run or in HPO_DATA, got {shown(named)}"
    )


def _offered(uri: str, at: str, inputs: Inputs) -> Inside | UPath:
    offer = offer_of(uri, inputs.offers)
    if offer is None:
        places = ", ".join(sorted(inputs.offers)) or "none"
        raise SpecError(
            f"{at}: must lie below a place that this installation offers ({places}), got {uri}; "
            "the operator can name others under `inputs` in config/deployment.yaml"
        )
    options = inputs.offers[offer]()
    root = open_folder(offer, options, field=at)
    if not isinstance(root, Path):
        return open_folder(uri, options, field=at)
    return Inside(Room(str(root)), uri[len(offer) :].strip("/"))


def _of_disk(place: Inside, at: str) -> Iterator[tuple[str, str]]:
    """Give the files at a place by name, with a hash of what is in them.

    SpecError if a link leads out, or lies in the folder.
    """
    try:
        with reaching(place):
            yield from _below(place, at)
    except TrialFailed as why:
        got = shown(place.path)
        raise SpecError(f"{at}: must not lead elsewhere by a link, got {got}: {why}") from None


def _below(place: Inside, at: str) -> Iterator[tuple[str, str]]:
    if (digest := sha256(place)) is not None:
        yield "", digest
        return
    for one in place.entries(_matters):
        if one.is_link:
            raise SpecError(f"{at}: must hold no links, got {shown(one.name)}")
        if isinstance(one.refused, Unreadable):  # which is not empty
            raise TransientError(f"{place}: {one.refused}")
        if one.refused is not None:
            raise SpecError(f"{at}: must be files that can be read: {one.refused}")
        yield one.name, _read(place / one.name, at)


def _of_store(place: UPath, at: str) -> Iterator[tuple[str, Any]]:
    """Give the objects at a place by name, with what their store says of their content."""
    with explained(str(place), "read", field=at):
        found = place.fs.info(place.path)
        entries = [(place, found)]
        if found["type"] != "file":
            entries = list(islice(listed(place), _MAX_FILES + 1))
    for one, entry in entries:
        name = _within(one, place)
        if all(_matters(part) for part in name.split("/")):
            yield name, _stamp(one, entry, at)


def _stamp(place: UPath, entry: Mapping[str, Any], at: str) -> list[str]:
    for name in _STAMPS:
        if entry.get(name):
            return [name, str(entry[name]), str(entry.get("size"))]
    return ["sha256", _read(place, at)]


def _matters(name: str) -> bool:
    """Say whether a file or folder counts: hidden ones and `__pycache__` do not."""
    return not name.startswith(".") and name != "__pycache__"


def _within(path: Place, folder: Place) -> str:
    return str(path).removeprefix(str(folder)).lstrip("/")


def _read(place: Place, at: str) -> str:
    digest = sha256(place)
    if digest is None:
        raise SpecError(f"{at}: must be files that can be read, got {place.name}")
    return digest
