"""A trial as an Airflow task, and on backends of our own: processes, containers, jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from hpo_airflow import settings, tasks

if TYPE_CHECKING:
    from hpo_lib.backends import Exit, Request
    from hpo_lib.record import Attempt


class TrialOperator(BaseOperator):
    """Runs one trial, or takes over the one that an earlier, killed task has left running.

    `assignment` is `{"trial": number, "label": text}` as the wave's control task gave it. No field
    is a template: what a user wrote is never rendered.
    """

    template_fields = ()
    ui_color = "#e8f4ea"

    def __init__(self, *, assignment: Mapping[str, Any], backend: str, **kwargs: Any) -> None:
        """Only assign: the values may be unresolved."""
        super().__init__(**kwargs)
        self.assignment = assignment
        self.backend = backend
        self._attempt: Attempt | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Give number, value and metrics of the trial; fail with the cause of a failed one."""
        self._context, self._ti = context, context["ti"]
        self._backend = settings.backend(self.backend)
        return tasks.perform(context, self.assignment, self._backend, self._launch)

    def on_kill(self) -> None:
        """End the trial if that is what somebody wants, else leave it to the task's retry."""
        if self._attempt is not None:
            tasks.let_go(self._ti, self._backend, self._attempt)

    def _launch(self, attempt: Attempt, request: Request) -> Exit:
        from hpo_lib import runs

        self._attempt = attempt
        return runs.follow(self._backend, attempt, request, tasks.emit)
