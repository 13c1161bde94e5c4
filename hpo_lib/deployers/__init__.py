"""Deployers: where a champion serves. One file each, registered in `hpo_lib.registry`.

What a deployer does not do: choose. Which version serves is said by the store; a deployer makes
it so, and says what it finds. `hpo_lib.promotion.rollout` calls it in the order of the methods
below, and any of them may be called again after a crash at any point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from hpo_lib.files.places import Place
from hpo_lib.validation import Strict


@dataclass(frozen=True, slots=True)
class Release:
    """A model to be served: `version` counts the models of its experiment from 1.

    `files` is the folder that training left in `HPO_OUTPUT/model`, on a disk or in an object
    store. `manifest` is plain JSON: parameters, metrics, where it was made, of what.
    """

    experiment: str
    version: int
    files: Place
    manifest: Mapping[str, Any]


class Check(str):
    """What is wrong with a version, in words for the user; empty if nothing is."""

    __slots__ = ()

    @property
    def passed(self) -> bool:
        """Say whether nothing is wrong."""
        return not self


class Deployer(Protocol):
    """Every method is idempotent, and raises TransientError if the world does not answer.

    A deployer is made with an experiment's name, what `deploy.options` say, checked, and what the
    deployment gives (see `plugins/hpo_airflow/deployers.py`).
    """

    #: What `deploy.options` may hold.
    Options: ClassVar[type[Strict]]

    @property
    def address(self) -> str:
        """Name where users ask, in words: two deployers serve at one place if it is the same."""
        ...

    def stage(self, release: Release) -> None:
        """Bring a version to where it can be tried, without serving it to anybody."""
        ...

    def try_out(self, release: Release) -> Check:
        """Try a staged version (the smoke test): it loads, and answers its sample input."""
        ...

    def switch(self, version: int) -> None:
        """Serve a staged version from now on, in one step: no request is lost or meets two."""
        ...

    def serving(self) -> int | None:
        """Give the version that is served, None if there is none; never what was only asked."""
        ...

    def verify(self, version: int) -> Check:
        """Ask the place that users ask whether it is well and serves this version."""
        ...

    def drop(self, version: int) -> None:
        """Remove a staged version that is not served."""
        ...

    def withdraw(self) -> None:
        """Serve nothing any more; what is staged stays, and may be switched to again."""
        ...
