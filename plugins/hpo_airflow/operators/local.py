"""A trial as a process of the worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator

from hpo_airflow import settings, tasks

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

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Give number, value and metrics of the trial; fail with the cause of a failed one."""
        from hpo_lib import runs
        from hpo_lib.errors import TrialFailed
        from hpo_lib.trial import TrialState

        number = int(self.assignment["trial"])
        with tasks.errors(), settings.open_store() as store:
            run = store.run(tasks.key_of(context))
            trial = runs.perform(store, run, number, settings.local_backend(), _emit)
            if trial.state is TrialState.FAILED:
                raise TrialFailed(f"trial {number} failed: {trial.cause}: {trial.reason}")
        log.info("trial %s: %s", number, trial.reason)
        return {"trial": number, "value": trial.value, "metrics": dict(trial.metrics)}

    def on_kill(self) -> None:
        """End the trial's processes when its task is ended from outside."""
        from airflow.sdk import get_current_context

        from hpo_lib import runs

        with settings.open_store() as store:
            run = store.run(tasks.key_of(get_current_context()))
            runs.stop_trial(store, run, int(self.assignment["trial"]), settings.local_backend())


def _emit(line: str) -> None:
    log.info("%s", line)
