"""What attempts leave in an object store: where it may lie, and how it gets there."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.errors import SpecError, TransientError, TrialFailed
from hpo_lib.files import room_changes
from hpo_lib.files.inside import Inside
from hpo_lib.files.places import Place, below, files, is_on_disk, opened, reaching, said
from hpo_lib.runtime.room import Refused, Room

if TYPE_CHECKING:
    from upath import UPath

_EXTRAS = {"s3": "s3fs: pip install s3fs", "gs": "gcsfs", "abfs": "adlfs"}
#: Object stores whose listings fsspec keeps, although other processes write to them.
_LISTED = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
_CHUNK = 1 << 20
Options = Mapping[str, Any]
#: What an installation offers: URIs below which artifacts may lie, and how to get there.
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
    return offers[offered(uri, offers)]()


def offered(uri: str, offers: Offers) -> str:
    """Name the longest offer that a URI lies below; SpecError if none is."""
    offer = offer_of(uri, offers)
    if offer is not None:
        return offer
    if not offers:
        raise SpecError(
            "artifacts: this installation offers no place for them; its operator can name URIs in "
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


def kept_at(uri: str, offers: Offers) -> Place:
    """Give the folder at a URI, in which a trial may have written; SpecError if none is offered.

    On a disk no link is followed from the offered place on.
    """
    offer = offered(uri, offers)
    folder = open_folder(uri, offers[offer]())
    if not isinstance(folder, Path):
        return folder
    base = offer.partition("://")[2].rstrip("/")
    return Inside(Room(base or "/", str(folder).removeprefix(base).strip("/")))


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
                f"{begin}: the installation's credentials are missing, wrong, or do not allow it: "
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
    """Write a small file so that a reader sees all of it or what was there; TransientError."""
    if not is_on_disk(place):
        place.write_bytes(content)  # a put is atomic in every object store
        return
    try:
        room_changes.write(*_in_room(place), [content])
    except Refused as why:
        raise TrialFailed(f"{why}; nothing is written there") from None


def _in_room(place: Path | Inside) -> tuple[Room, str]:
    """Give the room of what is to be written or deleted, and the path in it."""
    inside = place if isinstance(place, Inside) else Inside.at(place)
    return inside.room, inside.path


def put(path: Place, target: Place) -> None:
    """Copy a file of a disk so that a reader sees all of it or nothing; TransientError."""
    with opened(path) as file, reaching(target):
        if file is None:
            raise FileNotFoundError(f"{path} is gone")
        if is_on_disk(target):
            room_changes.write(*_in_room(target), iter(lambda: file.read(_CHUNK), b""))
            return
        # By its descriptor, for the name may lead elsewhere by now.
        target.fs.put_file(f"/proc/self/fd/{file.fileno()}", target.path)


def upload(output: Path | Inside, folder: Place) -> int:
    """Copy what a trial has left on a disk, but what leads out; gives the number of files.

    Done again, it writes the same again. What lies there already, on a disk that workers share,
    is not copied onto itself. TransientError if the store does not answer.
    """
    if is_on_disk(folder) and _is_same(output, folder):
        return 0
    found = files(output)
    for path in found:
        put(path, below(folder, str(path).removeprefix(f"{output}/")))
    return len(found)


def _is_same(one: Path | Inside, other: Path | Inside) -> bool:
    try:
        return Path(str(one)).samefile(str(other))
    except OSError:  # one is not there
        return False


def delete(folder: Place) -> None:
    """Delete a folder with all in it; one that is gone already is fine. TransientError."""
    with reaching(folder):
        if is_on_disk(folder):
            room_changes.remove(*_in_room(folder))
            return
        if found := [str(place.path) for place in files(folder) if not is_on_disk(place)]:
            folder.fs.rm(found)
