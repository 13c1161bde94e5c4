"""A trial, or one after the other, as an Airflow task; on backends of our own: processes etc."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import BaseOperator

from hpo_airflow import installation, slot_tasks, tasks
from hpo_airflow.links import OF_TRIAL
from hpo_lib.errors import TransientError

if TYPE_CHECKING:
    from hpo_lib.backends import Request
    from hpo_lib.core.ending import Exit
    from hpo_lib.core.trial import Trial
    from hpo_lib.records import Attempt
    from hpo_lib.store import Store

#: How many of the five seconds that Airflow leaves to a task `on_kill` may wait.
_AT_ONCE_S = 2.0
_POLL_S = 0.1


class TrialOperator(BaseOperator):
    """Runs one trial, or takes over the one that an earlier, killed task has left running.

    `assignment` is `{"trial": number, "label": text}` as the wave's control task gave it. With
    `{"slot": number, "label": text}` it runs one trial after the other, as many as the slot is
    given. No field is a template: what a user wrote is never rendered.
    """

    template_fields = ()
    operator_extra_links = OF_TRIAL
    ui_color = "#e8f4ea"

    def __init__(self, *, assignment: Mapping[str, Any], backend: str, **kwargs: Any) -> None:
        """Only assign: the values may be unresolved."""
        super().__init__(**kwargs)
        self.assignment = assignment
        self.backend = backend
        self._attempt: Attempt | None = None
        #: Grows when Airflow asks the task to end; one list, whatever else begins anew.
        self._asked_to_end: list[bool] = []
        self._let_go: Future[Never] | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Give number, value and metrics of the trial; fail with the cause of a failed one.

        A slot gives how many trials it has seen through, and does not fail with a trial.
        """
        self._context, self._ti = context, context["ti"]
        with tasks.errors():
            self._backend = installation.backend(self.backend, installation.team_of(context))
        if "trial" not in self.assignment:
            self._first = dict(self.__dict__)
            return slot_tasks.work(context, self.assignment, self)
        return tasks.perform(context, self.assignment, self.backend, self._backend, self._launch)

    def see_through(self, store: Store, assignment: Mapping[str, Any]) -> Trial:
        """See a slot's next trial through, and give what became of it.

        Airflow's own operators, which subclasses are, keep in themselves what they did for a trial:
        each one finds them as the first one did.
        """
        self.__dict__ = {**self._first, "_first": self._first}
        self.check_goes_on()
        return tasks.see_through(
            store, self._context, assignment, self.backend, self._backend, self._launch
        )

    def check_goes_on(self) -> None:
        """Raise TransientError if Airflow has asked this task to end."""
        if self._asked_to_end:
            raise TransientError("the task was asked to end before its trial began")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Tell OpenLineage, if its provider is installed, what the trial has read and written.

        Of a slot, which has many trials, nothing is told.
        """
        from hpo_airflow import lineage

        number = self.assignment.get("trial")
        return None if number is None else lineage.of_trial(task_instance, number)

    def on_kill(self) -> None:
        """End the trial if that is what somebody wants, else leave it to the task's retry.

        Airflow calls this in the middle of whatever the task does, such as a question to its
        supervisor, which answers one at a time. So another thread asks what is wanted, and does it.
        If that takes long, the task goes on meanwhile, and ends when this is called once more.
        """
        self._asked_to_end.append(True)
        if self._attempt is None:
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
        self.check_goes_on()

    def _launch(self, attempt: Attempt, request: Request) -> Exit:
        from hpo_lib.trials import runner

        self._look_after(attempt)
        return runner.follow(self._backend, attempt, request, tasks.emit)
