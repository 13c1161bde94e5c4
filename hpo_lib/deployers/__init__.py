"""Deployers: where a champion serves. One file each, registered in `hpo_lib.registry`.

A deployer does not choose: the store says which version is to serve; a deployer makes it so, and
says what it finds. `hpo_lib.promotion.rollout` calls the methods in the order below, and may call
any of them again after a crash at any point. One of your own, which serves a file of a folder:

    class Options(Strict):
        folder: str

    class FileDeployer:
        Options = Options

        def __init__(self, experiment, options):
            self.experiment, self.folder = experiment, Path(options.folder)

        def stage(self, release):
            content = (release.files / "model.keras").read_bytes()
            (self.folder / f"{self.experiment}-{release.version}.keras").write_bytes(content)

It needs the other methods of `Deployer` too. With `HPO_DEPLOYERS=package` a spec may name
`package.module:FileDeployer` in `deploy.to`.
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
    store. `manifest` is plain JSON: parameters, metrics, where and from what it was made.
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

    An operator's own deployer is made with an experiment's name and its checked `deploy.options`;
    those of this package also get what the installation gives them (see
    `plugins/hpo_airflow/deployers.py`).
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
        """Give the version that serves, which may not be the one asked for; None if none does."""
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
