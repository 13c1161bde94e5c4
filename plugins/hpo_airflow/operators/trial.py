"""A trial as an Airflow task, and on backends of our own: processes, containers, jobs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseOperator

from hpo_airflow import installation, tasks
from hpo_lib.errors import TransientError

if TYPE_CHECKING:
    from hpo_lib.backends import Request
    from hpo_lib.core.ending import Exit
    from hpo_lib.records import Attempt

#: How many of the five seconds that Airflow leaves to a task `on_kill` may wait.
_AT_ONCE_S = 2.0
_POLL_S = 0.1


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
        self._asked_to_end = False
        self._let_go: Future[Never] | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Give number, value and metrics of the trial; fail with the cause of a failed one."""
        self._context, self._ti = context, context["ti"]
        with tasks.errors():
            self._backend = installation.backend(self.backend, installation.team_of(context))
        return tasks.perform(context, self.assignment, self.backend, self._backend, self._launch)

    def on_kill(self) -> None:
        """End the trial if that is what somebody wants, else leave it to the task's retry.

        Airflow calls this in the middle of whatever the task does, such as a question to its
        supervisor, which answers one at a time. So another thread asks what is wanted, and does it.
        If that takes long, the task goes on meanwhile, and ends when this is called once more.
        """
        if self._attempt is None:
            self._asked_to_end = True
            return
        if self._let_go is None:
            words = (self._ti, self._backend, self._attempt)
            self._let_go = ThreadPoolExecutor(1).submit(tasks.let_go, *words)
            self._let_go.add_done_callback(self._call_again)
            wait([self._let_go], _AT_ONCE_S)
        if self._let_go.done():
            self._attempt = None
            self._let_go.result()

    def _call_again(self, _: Future[Never]) -> None:
        while self._attempt is not None:
            # A signal that comes just before a thread begins to wait does not wake it.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            time.sleep(_POLL_S)

    def _look_after(self, attempt: Attempt) -> None:
        """Let `on_kill` end this attempt; TransientError if the task was asked to end before.

        Airflow kills a task five seconds after asking it to end. Nobody would end an attempt that
        begins in between.
        """
        self._attempt = attempt
        if self._asked_to_end:
            raise TransientError("the task was asked to end before its trial began")

    def _launch(self, attempt: Attempt, request: Request) -> Exit:
        from hpo_lib.trials import runner

        self._look_after(attempt)
        return runner.follow(self._backend, attempt, request, tasks.emit)
