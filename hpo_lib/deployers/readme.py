"""A package's README: what the model is, and how it is loaded, as far as its files say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from hpo_lib.deployers import Release
from hpo_lib.deployers.loader import Kind, model_of
from hpo_lib.deployers.sample import SAMPLE

#: Lists what a model needs, if training has left it beside the model.
REQUIREMENTS = "requirements.txt"
Head = Callable[[str], bytes]


def readme(release: Release, names: Collection[str], head: Head) -> str:
    """Write it for a model of these files; `head` gives how one of them begins."""
    metrics = release.manifest.get("metrics", {})
    where = f"trial {release.manifest.get('trial')} of run {release.manifest.get('run')}"
    return "\n".join(
        [
            f"# {release.experiment}, version {release.version}",
            "",
            f"Made by {where}. `manifest.json` says of what, with a checksum for every file.",
            "",
            *(f"* {name}: {value:.6g}" for name, value in sorted(metrics.items())),
            "",
            *how(release.manifest, names, head),
            "",
        ]
    )


def how(manifest: Mapping[str, Any], names: Collection[str], head: Head) -> Iterator[str]:
    """Say how the model is loaded and asked, a line each, and what that needs."""
    name, kind = model_of(names, head)
    if not name:
        yield "`load.py` knows no kind of model among the files of `model/`: in Python,"
        yield "`from load import load` gives the folder, and what loads it is yours."
        return
    if kind.predict is None:
        yield f"`from load import load` gives the content of `model/{name}`; what predicts with it"
        yield "is yours."
        return
    trust = " --trust" if kind.pickle else ""
    if kind.pickle:
        yield f"`model/{name}` {kind.pickle}: loading it runs code of whoever made it, so `load.py`"
        yield "loads it only if you say `--trust`."
    if SAMPLE in names:
        yield f"`python load.py{trust} --check` loads `model/{name}` and compares its answers to"
        yield "those of the training in `sample.json`."
    yield f"`python load.py{trust} < inputs.json` predicts."
    yield from _needs(kind, manifest, names, head)


def _needs(
    kind: Kind, manifest: Mapping[str, Any], names: Collection[str], head: Head
) -> Iterator[str]:
    said = (manifest.get("training") or {}).get("versions") or {}
    listed = [f"{one} ({said[one]} in training)" if one in said else one for one in kind.needs]
    yield f"It needs {', '.join(listed)}."
    if REQUIREMENTS not in names:
        yield "The package brings none of it, and no list of it."
        return
    text = head(REQUIREMENTS).decode(errors="replace").lower()
    named = set(re.findall(r"^[a-z0-9][a-z0-9._-]*", text, re.M))
    lacking = [one for one in kind.needs if " " not in one and one not in named]
    if lacking:
        yield f"Of that, `model/{REQUIREMENTS}` does not name {', '.join(lacking)}."
