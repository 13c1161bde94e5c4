"""How a model gets to the pods that serve it: along with them, or fetched by them."""

from __future__ import annotations

from hpo_lib.deployers import Release
from hpo_lib.deployers.manifests import MAX_CONFIG_BYTES, ServedModel
from hpo_lib.deployers.sample import SAMPLE
from hpo_lib.errors import SpecError
from hpo_lib.files.places import Place, chunks, reaching, whole


def packed(release: Release) -> ServedModel:
    """Take a model's files along if a ConfigMap holds them, else say where the pod finds them.

    SpecError for a large model on this worker's disk, where no pod can fetch it.
    """
    with reaching(release.files):
        found = {_relative(path, release.files): path for path in whole(release.files)}
        size = sum(path.stat().st_size for path in found.values())
    if not found:
        raise SpecError(f"deploy: {release.files} holds no model: a trial has to save one")
    if size <= MAX_CONFIG_BYTES:
        return ServedModel(
            release.version, {name: _content_of(path) for name, path in found.items()}
        )
    uri = str(release.files)
    if "://" not in uri or uri.startswith("file:"):
        raise SpecError(
            f"artifacts.uri: is required to serve this model on kubernetes: it has {size} bytes, "
            f"and only up to {MAX_CONFIG_BYTES} can be served from the worker's disk ({uri})"
        )
    sample = {name: _content_of(path) for name, path in found.items() if name == SAMPLE}
    return ServedModel(release.version, sample, uri)


def _relative(path: Place, folder: Place) -> str:
    return str(path).removeprefix(str(folder)).lstrip("/")


def _content_of(path: Place) -> bytes:
    return b"".join(chunks(path))
