"""What this installation offers: backends, deployers, places for artifacts, and bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo_lib.backends import Backend
from hpo_lib.core.trial import Trial
from hpo_lib.deployers import Deployer
from hpo_lib.errors import (
    HpoError,
    SpecError,
)
from hpo_lib.files import artifacts
from hpo_lib.files.artifacts import Offers
from hpo_lib.records import Run, spec_of
from hpo_lib.spec import Spec


def _no_deployer(spec: Spec, store: str) -> Deployer:  # noqa: ARG001 - what others are like
    raise SpecError("deploy.to: nothing can be deployed from here")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where a spec's data and code may lie: folders of this machine, and URIs with their options.

    A relative path is looked for in one folder after the other.
    """

    folders: Sequence[Path] = ()
    offers: Offers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installation:
    """What this installation offers: folder for results, and how wide and long a DAG may be.

    `artifacts` are URIs below which a spec's artifacts may lie, with their storage options;
    `inputs` is where the data and code may lie that it declares.
    """

    home: Path
    backends: Mapping[str, Callable[[], Backend]]
    max_waves: int = 40
    max_parallel: int = 8
    artifacts: artifacts.Offers = field(default_factory=dict)
    deployers: Callable[[Spec, str], Deployer] = _no_deployer
    inputs: Inputs = field(default_factory=Inputs)

    def deployer(self, spec: Spec, store: str = "") -> Deployer:
        """Build what `deploy` asks for, for a store; SpecError if it is not there or allowed."""
        return self.deployers(spec, store)

    def backend(self, spec: Spec) -> Backend:
        """Build the backend that the spec names; HpoError if it is not there."""
        if spec.trial.backend not in self.backends:
            there = ", ".join(sorted(self.backends))
            raise HpoError(f"backend {spec.trial.backend} is not there; there are: {there}")
        return self.backends[spec.trial.backend]()


def backend_of(run: Run, trial: Trial, installation: Installation) -> Backend:
    """Build the backend that one of the run's trials is run by."""
    return installation.backend(spec_of(run, trial))
