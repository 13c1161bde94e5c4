"""The loop that Airflow's tasks are, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpo_lib.backends import Backend, Request
from hpo_lib.backends.local import LocalBackend
from hpo_lib.core.ending import Exit
from hpo_lib.installation import Installation, backend_of
from hpo_lib.records import Attempt, Run
from hpo_lib.runs import lifecycle
from hpo_lib.store import Store
from hpo_lib.trials import runner


def quietly(_: str) -> None:
    """Say nothing."""


@dataclass
class Loop:
    """A store, and an installation whose trials are local processes."""

    store: Store
    home: Path

    def __post_init__(self) -> None:
        """Make what depends on these."""
        self.backend = LocalBackend(home=self.home, workdir=self.home, path="", grace_s=60.0)
        self.installation = Installation(self.home, {"local": lambda: self.backend})

    def waves(self, run: Run) -> None:
        """Do all waves of a run."""
        for wave in range(1, 41):
            batch = lifecycle.next_wave(self.store, run.key, wave, self.installation)
            self.perform(run, *(assignment.trial for assignment in batch.assignments))
            if batch.stop is not None:
                return

    def perform(self, run: Run, *numbers: int) -> None:
        """Do trials one after the other."""
        for number in numbers:
            backend = backend_of(run, self.store.trial(run.id, number), self.installation)

            def launch(attempt: Attempt, request: Request, backend: Backend = backend) -> Exit:
                return runner.follow(backend, attempt, request, quietly)

            runner.perform(self.store, run, number, backend, quietly, launch)
