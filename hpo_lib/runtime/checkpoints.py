"""Checkpoints of a training in any framework: whole or not there, and found again by the next try.

    from hpo_lib.runtime import checkpoints

    found = checkpoints.newest()  # of this attempt, or of the one that it goes on from
    done = 0 if found is None else found.step
    for epoch in range(done + 1, 11):
        train_one_epoch()
        with checkpoints.saving(epoch) as folder:
            save_everything(folder)

Each is a folder `checkpoint/NAME/STEP` of the trial's output, with a `checkpoint.json` that names
its files and their checksums. It gets its name when it is whole; a torn one is never taken, but the
one before it. What the trial has reported by then goes with it, and is reported again by the next
try, so that its metrics are those of a training that nobody has disturbed.

Standard library only; `fsspec` where HPO_RESUME_FROM is a URI.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_lib import runtime

#: Names a checkpoint's files; the last that is written of it.
MANIFEST = "checkpoint.json"
#: What the trial had reported, a copy of its metrics.jsonl.
REPORTED = "reported.jsonl"
_PART = ".part-"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint: the step after which it was saved, and the folder that holds it."""

    step: int
    folder: Path


@contextmanager
def saving(step: int, name: str = "training", keep: int = 2) -> Iterator[Path]:
    """Give an empty folder, which becomes the checkpoint of a step when the block ends well.

    Afterwards the newest `keep` of that name are left.
    """
    _check(step, name, keep)
    home = runtime.checkpoint_dir() / name
    part = home / f"{_PART}{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        _complete(part, step)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _put_in_place(part, home / f"{step:08d}")
    _rotate(home, keep, newest=step)


def folder_of(step: int, name: str = "training") -> Path:
    """Give the folder of a step's checkpoint in this attempt's output."""
    return runtime.checkpoint_dir() / name / f"{step:08d}"


def newest(name: str = "training") -> Checkpoint | None:
    """Give the newest whole checkpoint; None to begin anew.

    It is one of this attempt's own, or a copy in this attempt's folder of one that
    HPO_RESUME_FROM holds. What had been reported by then is reported again, unless it was already.
    """
    home = runtime.checkpoint_dir() / name
    if home.is_dir():
        for left in home.glob(f"{_PART}*"):
            shutil.rmtree(left, ignore_errors=True)
    earlier = _earlier(name)
    steps = {*_steps(path.name for path in _folders(home)), *(earlier.steps() if earlier else ())}
    for step in sorted(steps, reverse=True):
        folder = folder_of(step, name)
        if _is_whole(folder) or (earlier and _adopted(earlier, step, folder)):
            _report_again(folder / REPORTED)
            return Checkpoint(step, folder)
        print(f"The checkpoint of step {step} is not whole; the one before it is looked for.")
    return None


def _check(step: int, name: str, keep: int) -> None:
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}")
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    if not name or name.startswith(".") or "/" in name:
        raise ValueError(f"name must be a plain name of a folder, got {name!r}")


def _complete(part: Path, step: int) -> None:
    """Write what lets a reader know that it has all."""
    if (told := _own_reports()) is not None and told.is_file():
        shutil.copyfile(told, part / REPORTED)
    files = [path for path in sorted(part.rglob("*")) if path.is_file()]
    named = {
        str(path.relative_to(part)): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in files
    }
    (part / MANIFEST).write_text(json.dumps({"step": step, "files": named}), encoding="utf-8")
    for path in [*files, part / MANIFEST, part]:
        _to_disk(path)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(part: Path, folder: Path) -> None:
    if folder.exists():  # of the same step, from before a restart: the newer one is as good
        shutil.rmtree(folder)
    part.rename(folder)
    _to_disk(folder.parent)


def _rotate(home: Path, keep: int, newest: int) -> None:
    """Delete all but the newest; those of later steps were not whole, or they had been taken."""
    steps = _steps(path.name for path in _folders(home))
    kept = [step for step in sorted(steps, reverse=True) if step <= newest][:keep]
    for step in set(steps) - set(kept):
        shutil.rmtree(home / f"{step:08d}", ignore_errors=True)


def _folders(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []


def _steps(names: Iterator[str] | list[str]) -> list[int]:
    return [int(name) for name in names if name.isdecimal()]


def _is_whole(folder: Path) -> bool:
    """Say whether all that a checkpoint names is there, as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(
            (folder / name).stat().st_size == told["size"]
            and _sha256(folder / name) == told["sha256"]
            for name, told in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Folder:
    """The checkpoints of an earlier attempt, on a disk."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def steps(self) -> list[int]:
        return _steps(path.name for path in _folders(self._home))

    def bring(self, step: int, target: Path) -> None:
        shutil.copytree(self._home / f"{step:08d}", target)


class _Store:
    """The same in an object store; what it raises ends the trial, rather than lose epochs."""

    def __init__(self, uri: str) -> None:
        from fsspec.core import url_to_fs

        self._store, self._root = url_to_fs(uri, use_listings_cache=False)

    def steps(self) -> list[int]:
        try:
            found: list[str] = self._store.ls(self._root, detail=False)
        except FileNotFoundError:
            return []
        return _steps([name.rstrip("/").rpartition("/")[2] for name in found])

    def bring(self, step: int, target: Path) -> None:
        folder = f"{self._root.rstrip('/')}/{step:08d}"
        target.mkdir(parents=True)
        for name in self._store.find(folder):
            path = target / str(name).removeprefix(f"{folder}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.get_file(name, str(path))


def _earlier(name: str) -> _Folder | _Store | None:
    """Give what HPO_RESUME_FROM holds, if it is told."""
    where = runtime.resume_from()
    if where is None:
        return None
    where = where.removeprefix("file://")
    if "://" in where:
        return _Store(f"{where}/{name}")
    home = Path(where) / name
    own = runtime.checkpoint_dir() / name
    return None if home == own else _Folder(home)


def _adopted(earlier: _Folder | _Store, step: int, folder: Path) -> bool:
    """Copy an earlier attempt's checkpoint into this one's folder, if it is whole."""
    part = folder.parent / f"{_PART}{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError, NotADirectoryError, shutil.Error):
        earlier.bring(step, part)
    if not _is_whole(part):
        shutil.rmtree(part, ignore_errors=True)
        return False
    _put_in_place(part, folder)
    return True


def _own_reports() -> Path | None:
    output = runtime._local_output()
    return None if output is None else output / "metrics.jsonl"


def _report_again(kept: Path) -> None:
    """Report what an earlier attempt had, but for what this one has reported already."""
    own = _own_reports()
    said = set(_lines(own)) if own is not None else set()
    for line in _lines(kept):
        if line not in said:
            step, metrics = line
            runtime._write(step, {name: _number(value) for name, value in metrics})


def _lines(path: Path) -> list[tuple[int | None, tuple[tuple[str, Any], ...]]]:
    """Read reports, as step and metrics; the last line of a killed trial may be torn."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(text)
            found.append((record["step"], tuple(record["metrics"].items())))
    return found


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else float(value)
