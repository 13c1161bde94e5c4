"""When Airflow tries a trial's task again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from hpo_lib.errors import TransientError


class PauseOfFailure(RetryPolicy):
    """Waits `after_s` of a TransientError; leaves all else to the task's own settings."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Any = None,
    ) -> RetryDecision:
        """Give the pause, if the error names one."""
        if isinstance(exception, TransientError) and exception.after_s is not None:
            return RetryDecision.retry(timedelta(seconds=exception.after_s), str(exception))
        return RetryDecision.default()

    def serialize(self) -> Mapping[str, Any]:
        """Give nothing: it has no settings."""
        return {}
