"""The shape in which a model has left training, found by its files, and what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hpo_lib.deployers import Release
from hpo_lib.deployers.loader import Kind, model_of
from hpo_lib.deployers.sample import SAMPLE, read_sample
from hpo_lib.errors import SpecError
from hpo_lib.files.places import Place, opened, whole
from hpo_lib.validation import Strict

#: How much is read of a file to know what it is, in bytes; a sample is read as far as this.
_HEAD = 1 << 20
#: What MLServer has for a shape, of those that run no code of their maker and were tried.
_MLSERVER = {"xgboost": "mlserver_xgboost.XGBoostModel"}


class DeployerRules(Strict):
    """What `config/deployment.yaml` says of all deployers.

    `allow_pickle`: a pickle may be loaded where it is checked and where our server serves it. That
    runs whatever code the author of a trial has put into it.
    """

    allow_pickle: bool = False


def files_of(release: Release) -> dict[str, Place]:
    """Give a model's files by their names below its folder."""
    return {str(one).removeprefix(f"{release.files}/"): one for one in whole(release.files)}


def found_in(files: Mapping[str, Place]) -> tuple[str, Kind]:
    """Give the file that is loaded, and how; the name is empty where only a folder is known."""
    return model_of(files, lambda name: beginning(files[name]))


def beginning(place: Place) -> bytes:
    """Read how a file begins; nothing if it is not there."""
    with opened(place) as file:
        return b"" if file is None else file.read(_HEAD)


def refuse_pickle(release: Release) -> None:
    """Raise SpecError if what would be loaded of a model is a pickle, or may hold one."""
    name, kind = found_in(files_of(release))
    if kind.pickle:
        raise SpecError(
            f"deploy: {name} {kind.pickle}, which runs code of the trial's author where it is "
            "loaded, and this installation does not allow that: leave the model in a form that "
            "runs none (docs/deploy.md), or have the operator set deployers.allow_pickle in "
            "config/deployment.yaml"
        )


def described(
    release: Release, files: Mapping[str, Place], digests: Mapping[str, str]
) -> dict[str, Any]:
    """Say what a model is, as JSON: its shape, what loads it, what goes in and out, a checksum.

    `digests` are the SHA-256 of its files; their own, of lines as `sha256sum` writes them, in the
    order of the names, is that of the model.
    """
    name, kind = found_in(files)
    versions = (release.manifest.get("training") or {}).get("versions") or {}
    lines = (f"{digests[one]}  {one}\n" for one in sorted(files))
    return {
        "name": release.experiment,
        "shape": kind.shape,
        "file": name or None,
        "pickle": bool(kind.pickle),
        "needs": {one: versions.get(one) for one in kind.needs if " " not in one},
        "signature": _signature(files.get(SAMPLE)),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }


def mlserver_settings(release: Release, files: Mapping[str, Place]) -> dict[str, Any] | None:
    """Say how MLServer serves an unpacked package; None for what it was not seen to serve."""
    name, kind = found_in(files)
    if kind.shape not in _MLSERVER:
        return None
    return {
        "name": release.experiment,
        "implementation": _MLSERVER[kind.shape],
        "parameters": {"uri": f"./model/{name}", "version": str(release.version)},
    }


def _signature(sample: Place | None) -> dict[str, Any] | None:
    """Give the sizes of rows and answers, as far as the first of a sample shows them."""
    if sample is None:
        return None
    try:
        found = read_sample(beginning(sample))
    except ValueError:
        return None
    return {"instances": _sizes(found.instances[0]), "predictions": _sizes(found.predictions[0])}


def _sizes(row: Any) -> Any:
    """Give the sizes of many rows like this one, by name if it has names; null is how many."""
    if isinstance(row, Mapping):
        return {name: _list_sizes(value) for name, value in row.items()}
    return _list_sizes(row)


def _list_sizes(row: Any) -> list[int | None]:
    sizes: list[int | None] = [None]
    while isinstance(row, list):
        sizes.append(len(row))
        row = row[0] if row else None
    return sizes
