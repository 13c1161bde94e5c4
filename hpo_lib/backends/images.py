"""Which images a conf may run, and which of them may change under the same name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from hpo_lib.errors import SpecError
from hpo_lib.spec.placeholders import texts
from hpo_lib.spec.trial_section import TrialSpec
from hpo_lib.validation import shown

#: What a conf may run where an operator lists no images: those that this project builds.
IMAGES = ("hpo-trial:*", "hpo-trial@*")
_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")


def check_image(trial: TrialSpec, allowed: Sequence[str]) -> None:
    """Raise SpecError unless the trial has an image that matches one of the `allowed` patterns."""
    if trial.image is None:
        raise SpecError(f"trial.image: is required by backend {trial.backend}")
    for words in wrong_image(trial.image, allowed):
        raise SpecError(f"trial.image: {words}")


def is_allowed_image(image: str, patterns: Sequence[str]) -> bool:
    """Say whether an image matches a pattern: as a whole, or, by its digest, without its tag.

    What stands after a pattern's last colon or @ is for a tag or a digest: in `train:*` it is not
    for the port of a registry that is called `train`.
    """
    name, tag = _name_and_tag(image)
    tags = {tag, tag[tag.find("@") :]} if "@" in tag else {tag}
    for pattern in patterns:
        wanted, ending = _name_and_tag(pattern)
        if not ending and fnmatchcase(image, pattern):
            return True
        if ending and fnmatchcase(name, wanted) and any(fnmatchcase(one, ending) for one in tags):
            return True
    return False


def wrong_image(image: str, patterns: Sequence[str]) -> Iterator[str]:
    """Say that no pattern allows an image, if none does."""
    if not is_allowed_image(image, patterns):
        listed = f"must match one of {', '.join(patterns)}" if patterns else "must be left out"
        yield (
            f"{listed} in this installation, got {image}; its operator can list others under "
            "images in config/deployment.yaml"
        )


def _name_and_tag(image: str) -> tuple[str, str]:
    """Split an image, or a pattern, before its tag or its digest, if it has one."""
    folder, slash, last = image.rpartition("/")
    found = re.search("[:@]", last)
    at = found.start() if found else len(last)
    return f"{folder}{slash}{last[:at]}", last[at:]


def images_within(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the images that `trial.options` name, each with its path."""
    named = texts(options, "trial.options")
    return [(path, image) for path, image in named if path.endswith(".image")]


def unpinned_image(trial: TrialSpec) -> str | None:
    """Say which of a trial's images is not named by its digest; None if all are."""
    images = images_within(trial.options)
    images += [("trial.image", trial.image)] if trial.image else []
    for path, image in images:
        if not _PINNED.fullmatch(image):
            return f"{path}: must be named by its digest, name@sha256:…, got {shown(image)}"
    return None if images else "trial.image: is required"
