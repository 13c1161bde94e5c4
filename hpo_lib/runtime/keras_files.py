"""Files that Keras' callbacks write: the lines of CSVLogger, the best model of ModelCheckpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras  # type: ignore[import-not-found,unused-ignore]

_FOLDER = "files"


class Files:
    """What a resumed training finds as the uninterrupted one has left it after an epoch.

    A model's file is copied when it has changed; otherwise the new checkpoint shares the copy.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        """Look after these callbacks."""
        kinds = (keras.callbacks.CSVLogger, keras.callbacks.ModelCheckpoint)
        self._writers = [one for one in callbacks if isinstance(one, kinds)]
        self._written: dict[int, Path] = {}
        self._copied: dict[int, tuple[tuple[int, int, int], Path]] = {}

    def take(self, epoch: int, logs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Copy into a checkpoint what the callbacks have written; gives what belongs where."""
        found: dict[str, Any] = {}
        for number, one in enumerate(self._writers):
            path = _path(one, epoch, logs)
            if path is not None and path.is_file():
                self._written[number] = path
            if number in self._written:
                self._copy(number, folder / _FOLDER / str(number))
                found[str(number)] = _portable(self._written[number])
        return found

    def _copy(self, number: int, target: Path) -> None:
        path = self._written[number]
        status = path.stat()
        signature = status.st_ino, status.st_size, status.st_mtime_ns
        before, copy = self._copied.get(number, (None, None))
        target.parent.mkdir(exist_ok=True)
        if copy is not None and signature == before and copy.is_file():
            os.link(copy, target)
        else:
            shutil.copyfile(path, target)
        self._copied[number] = signature, target

    def are_in(self, folder: Path) -> None:
        """Know where the checkpoint lies that was written last."""
        for number, (signature, _) in self._copied.items():
            self._copied[number] = signature, folder / _FOLDER / str(number)

    def give(self, found: Mapping[str, Any], folder: Path) -> None:
        """Put the files of a checkpoint where the callbacks write in this attempt."""
        for number, one in enumerate(self._writers):
            if str(number) not in found:
                continue
            copy = folder / _FOLDER / str(number)
            if isinstance(one, keras.callbacks.CSVLogger):
                _go_on_writing(one, copy)
                continue
            path = _placed(found[str(number)])
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            shutil.copyfile(copy, part)
            part.replace(path)
            self._written[number] = path


def _path(callback: Any, epoch: int, logs: Mapping[str, Any]) -> Path | None:
    """Give the file that a callback writes after an epoch, if it does."""
    if isinstance(callback, keras.callbacks.CSVLogger):
        return Path(callback.filename)
    if callback.save_freq != "epoch":
        return None if "{" in callback.filepath else Path(callback.filepath)
    return Path(callback._get_file_path(epoch, None, logs))


def _go_on_writing(logger: Any, copy: Path) -> None:
    """Let a CSVLogger, which has just begun its file, go on below the lines of a checkpoint."""
    logger.csv_file.close()
    shutil.copyfile(copy, logger.filename)
    logger.csv_file = Path(logger.filename).open("a", encoding="utf-8")  # noqa: SIM115 - its own
    logger.append_header = not copy.stat().st_size


def _portable(path: Path) -> dict[str, str]:
    """Write a path so that the next attempt, which has an output of its own, finds its own file."""
    output, full = _output(), path.resolve()
    if output is not None and full.is_relative_to(output):
        return {"output": str(full.relative_to(output))}
    return {"path": str(path)}


def _placed(written: Mapping[str, str]) -> Path:
    output = _output()
    if "path" in written or output is None:
        return Path(written.get("path") or written["output"])
    return output / written["output"]


def _output() -> Path | None:
    where = os.environ.get("HPO_OUTPUT", "").removeprefix("file://")
    return Path(where).resolve() if where and "://" not in where else None
