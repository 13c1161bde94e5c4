"""A trial as a task of Amazon ECS, run and watched by Airflow's own operator."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.exceptions import EcsOperatorError
from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator

from hpo_airflow.links import CONSOLE, ecs_task, lead
from hpo_airflow.operators.trial import TrialOperator
from hpo_lib.backends.beginning import Vanished, begin, prepare
from hpo_lib.backends.ecs import is_refusal, service, stream_of
from hpo_lib.backends.ecs_request import CONTAINER
from hpo_lib.backends.ecs_status import no_place, refused
from hpo_lib.errors import TransientError

if TYPE_CHECKING:
    from hpo_lib.backends import Request
    from hpo_lib.backends.ecs import EcsBackend
    from hpo_lib.core.ending import Exit
    from hpo_lib.records import Attempt

_CHECK_S, _PLACE_S, _AGAIN_S = 3.0, 15.0, 5.0
_LOG_INTERVAL = timedelta(seconds=5)


class EcsTrialOperator(TrialOperator, EcsRunTaskOperator):
    """Runs one trial as an ECS task, or takes over the one that an earlier, killed task has left.

    Airflow's operator starts the task and streams its log; what is started, how long it may take
    and how it ended is decided here. It waits in the worker: a deferred one could not end its task.
    """

    ui_color = "#fbf0e6"
    _backend: EcsBackend

    def __init__(self, **kwargs: Any) -> None:
        """Say what holds for every trial."""
        super().__init__(
            task_definition="",
            cluster="",
            overrides={},
            container_name=CONTAINER,
            awslogs_fetch_interval=_LOG_INTERVAL,
            reattach=True,
            deferrable=False,
            stop_task_on_failure=False,
            **kwargs,
        )

    def on_kill(self) -> None:
        """End the trial as any other, and read its log no further."""
        if self.task_log_fetcher is not None:
            self.task_log_fetcher.stop()
        super().on_kill()

    def _launch(self, attempt: Attempt, request: Request) -> Exit:
        from botocore.exceptions import ClientError

        self._look_after(attempt)
        self._handle, self._request = attempt.handle, request
        prepare(attempt.handle, request)
        self._end: Exit | None = None
        rules = self._backend.rules
        self.aws_conn_id, self.region_name = rules.connection, rules.region
        with service():
            try:
                self._ask(request)
                EcsRunTaskOperator.execute(self, self._context)
            except Vanished as error:
                return error.end
            except EcsOperatorError as error:
                return no_place(error.failures)
            except ClientError as error:
                told = error.response["Error"]
                self._end = self._end or refused(told["Code"], told["Message"])
                if self._end is None:
                    raise
        if self._end is None:
            raise TransientError("the ECS task goes on, watching it did not", after_s=_AGAIN_S)
        return self._end

    def _ask(self, request: Request) -> None:
        """Fill in what Airflow's operator asks ECS for, and where it finds the log."""
        wanted = self._backend.wanted(self._handle, request)
        run, definition = wanted.run, self._backend.defined(wanted)
        self.cluster, self.overrides = run["cluster"], run["overrides"]
        self.task_definition = definition["taskDefinitionArn"]
        self.container_name = self._handle["container"]
        self.launch_type = run.get("launchType")
        self.capacity_provider_strategy = run.get("capacityProviderStrategy")
        self.network_configuration = run.get("networkConfiguration")
        self.tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        if (stream := stream_of(definition, self._handle)) is not None:
            self.awslogs_group, self.awslogs_stream_prefix, self.awslogs_region = stream

    def _try_reattach_task(self, started_by: str) -> None:
        """Take over the attempt's task, also one that has ended: its outcome is not lost."""
        self._started_by = self._handle["task"]
        self.arn = self._backend.started(self._handle)

    def _start_task(self) -> None:
        """Start the task; without capacity, ask again for as long as a trial may wait.

        One that is gone is not started again: Vanished.
        """
        until = time.monotonic() + self._request.start_timeout_s
        while self.arn is None:
            try:
                begin(self._handle, "ECS task", super()._start_task, _is_refusal)
            except EcsOperatorError as error:
                if time.monotonic() > until:
                    raise
                self.log.info("no place yet: %s", error.failures)
                time.sleep(_PLACE_S)
        lead(self._context["task"], {CONSOLE: ecs_task(self.arn)})
        self._backend.keep(self._handle, self.arn)

    def _wait_for_task_ended(self) -> None:
        """Poll until the task has ended, which also enforces the timeout: ECS does not know it."""
        while (end := self._backend.poll(self._handle)) is None:
            time.sleep(_CHECK_S)
        self._end = end

    def _check_success_task(self) -> None:
        """Do nothing: the backend's `poll` has read how the task ended, as for all callers."""


def _is_refusal(error: Exception) -> bool:
    """Say whether ECS answers that it has not run a task."""
    return isinstance(error, EcsOperatorError) or is_refusal(error)
