"""A trial as a process of the worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator

from hpo_airflow import settings, tasks
from hpo_lib.errors import TransientError

log = logging.getLogger(__name__)


class LocalTrialOperator(BaseOperator):
    """Runs one trial, or takes over the one that an earlier, killed task has left running.

    `assignment` is `{"trial": number, "label": text}` as the wave's control task gave it. No field
    is a template: what a user wrote is never rendered.
    """

    template_fields = ()
    ui_color = "#e8f4ea"

    def __init__(self, *, assignment: Mapping[str, Any], **kwargs: Any) -> None:
        """Only assign: the values may be unresolved."""
        super().__init__(**kwargs)
        self.assignment = assignment
        self._handle: Mapping[str, Any] | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Give number, value and metrics of the trial; fail with the cause of a failed one."""
        from hpo_lib import runs
        from hpo_lib.errors import TrialFailed
        from hpo_lib.trial import TrialState

        number = int(self.assignment["trial"])
        with tasks.errors(), settings.open_store() as store:
            run = store.run(tasks.key_of(context))
            self._backend = settings.local_backend()
            trial = runs.perform(store, run, number, self._backend, _emit, self._opened)
            if trial.state is TrialState.FAILED:
                raise TrialFailed(f"trial {number} failed: {trial.cause}: {trial.reason}")
        log.info("trial %s: %s", number, trial.reason)
        return {"trial": number, "value": trial.value, "metrics": dict(trial.metrics)}

    def on_kill(self) -> None:
        """Let go of the trial: a retry takes it over, else it ends (see `local_guard`).

        Airflow asks a task to end for many reasons (marked failed, restarted, API not reachable,
        replaced by a retry) and does not say which.
        """
        if self._handle is not None:
            self._backend.release(self._handle)
        raise TransientError("the task was asked to end; a running trial waits for a retry")

    def _opened(self, handle: Mapping[str, Any]) -> None:
        self._handle = handle


def _emit(line: str) -> None:
    log.info("%s", line)
