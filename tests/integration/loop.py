"""The loop that Airflow's tasks are, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpo_lib import runs
from hpo_lib.backends import Backend, Exit, Request
from hpo_lib.backends.local import LocalBackend
from hpo_lib.record import Attempt, Run
from hpo_lib.store import Store


def quietly(_: str) -> None:
    """Say nothing."""


@dataclass
class Loop:
    """A store, and a deployment whose trials are local processes."""

    store: Store
    home: Path

    def __post_init__(self) -> None:
        """Make what depends on these."""
        self.backend = LocalBackend(home=self.home, workdir=self.home, path="", grace_s=60.0)
        self.deployment = runs.Deployment(self.home, {"local": lambda: self.backend})

    def waves(self, run: Run) -> None:
        """Do all waves of a run."""
        for wave in range(1, 41):
            lease = runs.next_wave(self.store, run.key, wave, self.deployment)
            self.perform(run, *(assignment.trial for assignment in lease.assignments))
            if lease.stop is not None:
                return

    def perform(self, run: Run, *numbers: int) -> None:
        """Do trials one after the other."""
        for number in numbers:
            backend = runs.backend_of(run, self.store.trial(run.id, number), self.deployment)

            def launch(attempt: Attempt, request: Request, backend: Backend = backend) -> Exit:
                return runs.follow(backend, attempt, request, quietly)

            runs.perform(self.store, run, number, backend, quietly, launch)
