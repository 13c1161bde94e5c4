"""`hpo model`: what a run's best trial has left, such as its model, listed or copied."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hpo_lib.cli import remote, tables
from hpo_lib.cli.console import remark, say
from hpo_lib.cli.umask import asked_for
from hpo_lib.errors import HpoError, NotFound, SpecError, TransientError
from hpo_lib.words import size

if TYPE_CHECKING:
    from hpo_lib.cli.without_airflow import Reader

_PAGE = 1000
#: Where a program leaves its model, below HPO_OUTPUT.
_MODEL = "model/"


def model(options: argparse.Namespace) -> int:
    """List what a trial has left, or copy its model to a folder."""
    reader = remote.of_a_run(options)
    number = _best(reader, options.number) if options.trial is None else options.trial
    path = f"/runs/{options.number}/trials/{number}/files"
    found = _listed(reader, path)
    files, place = found["files"], found["place"]
    if not files:
        raise NotFound(
            f"trial {number} has left no files in {place}, or they are gone: a program leaves its "
            "model in the folder HPO_OUTPUT/model, and retention deletes that of old runs"
        )
    if options.output is None:
        tables.show(found, _lines(found, options.number), as_json=options.json)
        return 0
    chosen = _chosen(files, everything=options.all)
    if not options.force:
        _check_is_free(options.output, chosen)
    for name, one in chosen.items():
        _copy(reader, f"{path}/{quote(one['name'])}", options.output, name, one["size"])
        if not options.json:
            say(f"wrote {options.output / name}  {size(one['size'])}")
    if options.json:
        tables.show(
            found | {"written": [str(options.output / name) for name in chosen]}, [], as_json=True
        )
    return 0


def _best(reader: Reader, run: int) -> int:
    """Number a run's best trial; SpecError if there are several, on a Pareto front."""
    found = [int(one["number"]) for one in reader.hpo("GET", f"/runs/{run}/best")["trials"]]
    if not found:
        raise NotFound(f"run {run} has no trial that is complete and keeps the constraints")
    if found[1:]:
        told = ", ".join(map(str, found))
        raise SpecError(f"run {run} has several best trials: name one by --trial, of {told}")
    if reader.hpo("GET", f"/runs/{run}")["finals"]:
        remark(
            "final training has trained the winner again: hpo trials RUN --final lists what has "
            "come of it, and --trial N takes one of these"
        )
    return found[0]


def _listed(reader: Reader, path: str) -> dict[str, Any]:
    """Give the list of a trial's files, all pages in one."""
    found: dict[str, Any] = reader.hpo("GET", path, limit=_PAGE)
    while found["next"] is not None:
        page = reader.hpo("GET", path, limit=_PAGE, after=found["next"])
        found = page | {"files": found["files"] + page["files"]}
    return found


def _lines(found: dict[str, Any], run: int) -> Iterator[str]:
    yield f"trial {found['trial']}, attempt {found['attempt']}: {found['place']}"
    rows = [(one["name"], size(one["size"])) for one in found["files"]]
    yield from (f"  {text}" for text in tables.table(("file", "size"), rows))
    has_model = any(name.startswith(_MODEL) for name, _ in rows)
    trial = f"hpo model {run} --trial {found['trial']} -o FOLDER"
    yield f"{trial} copies {f'what is in {_MODEL}, with --all all of it' if has_model else 'them'}"


def _chosen(files: Sequence[dict[str, Any]], *, everything: bool) -> dict[str, dict[str, Any]]:
    """Choose what is copied, by its name there: what is in `model/`, or all where that is not."""
    named = {one["name"]: one for one in files if one["name"].rpartition("/")[2]}
    inner = {
        name.removeprefix(_MODEL): one for name, one in named.items() if name.startswith(_MODEL)
    }
    return inner if inner and not everything else named


def _check_is_free(folder: Path, names: Iterable[str]) -> None:
    there = [name for name in names if (folder / name).is_symlink() or (folder / name).exists()]
    if there:
        more = f", and {len(there) - 1} more" if there[1:] else ""
        raise SpecError(
            f"{folder / there[0]}: is there already{more}; --force replaces what is there, -o "
            "names another folder"
        )


def _copy(reader: Reader, path: str, folder: Path, name: str, size: int) -> None:
    """Copy a file below a folder, whole or not at all."""
    from hpo_lib.files import room_changes
    from hpo_lib.runtime.room import Refused, Room

    def copied() -> None:
        with asked_for():
            room_changes.write(Room(str(folder)), name, _whole(reader.download(path), size, name))

    try:
        remote.again(copied)
    except Refused as why:
        raise SpecError(f"{folder}: {why}; nothing is written there") from None
    except OSError as error:
        raise HpoError(f"{folder / name}: cannot be written: {error.strerror}") from None


def _whole(pieces: Iterable[bytes], size: int, name: str) -> Iterator[bytes]:
    """Let pieces through that are a file of this size."""
    seen = 0
    for piece in pieces:
        seen += len(piece)
        yield piece
    if seen != size:
        raise TransientError(f"{name}: must be of {size:,} bytes, as it was listed, got {seen:,}")
