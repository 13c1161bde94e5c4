"""The data and code that a spec's results depend on, so that none is trained twice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import Field, field_validator

from hpo_lib.registry import backends
from hpo_lib.spec import uris
from hpo_lib.validation import Strict, each, refuse, rule, shown

_MAX_PLACES = 50
_SEGMENT = re.compile(r"[^.\x00-\x1f\x7f/\\][^\x00-\x1f\x7f/\\]*")


class Reuse(Strict):
    """The files and folders that hold a trial's data and its code.

    Relative paths lie where local trials run or in HPO_DATA; other places are named by URIs.
    """

    data: tuple[str, ...] = Field(strict=False, max_length=_MAX_PLACES)
    code: tuple[str, ...] = Field(default=(), strict=False, max_length=_MAX_PLACES)

    @field_validator("data", "code")
    @classmethod
    def _check_places(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        refuse(each(_place, places))
        checked = tuple(_place(text) for text in places)
        if len(set(checked)) < len(checked):
            raise rule(f"must not name a place twice, got {shown(list(checked))}")
        return checked

    @property
    def places(self) -> Iterator[tuple[str, str]]:
        """Every place, with the path that a message calls it by."""
        for field in ("data", "code"):
            for index, place in enumerate(getattr(self, field)):
                yield f"reuse.{field}.{index}", place

    def unfit(self, backend: str) -> Iterator[str]:
        """Yield why the backend's trials cannot read such places, or depend on code not named."""
        if backends()[backend].on_workers:
            if not self.code:
                yield f"reuse.code: is required by backend {backend}, whose program is no image"
            return
        for field, place in self.places:
            if not is_uri(place):
                yield (
                    f"{field}: must be a URI with backend {backend}, whose trials see no file of "
                    f"the workers, got {shown(place)}"
                )


def is_uri(place: str) -> bool:
    """Tell a URI from a relative path."""
    return "://" in place


def _place(text: str) -> str:
    if is_uri(text):
        return uris.checked(text)
    segments = text.removesuffix("/").split("/")
    if len(text) > 500 or not all(_SEGMENT.fullmatch(one) for one in segments):
        raise rule(
            "must be a URI, or a relative path in which no name begins with a dot, got "
            f"{shown(text)}"
        )
    return text.removesuffix("/")
