"""When Airflow tries a task again: as its error says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

from hpo_lib.errors import TransientError

#: What Airflow says of a mapped task of an empty list (3.3.2).
_NO_PLACE = "cannot expand field mapped to length 0"


class Ended(SystemExit):
    """The end of a task that is not tried again, whose reason is in the log already.

    Of any other error Airflow 3.3 writes a traceback into the log, also of AirflowFailException;
    whoever looks there for what is wrong with a conf would have to look for it.
    """

    def __init__(self, reason: str) -> None:
        """Take the reason, which mails and callbacks are told."""
        super().__init__(reason)
        self.code = 1


class AsErrorsSay(RetryPolicy):
    """Fails at once with Ended, and waits `after_s` of a TransientError.

    It also fails at once where a task that was mapped, and cleared, has lost its place: its list is
    empty by now, and stays so. All else is left to the task's own settings.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Any = None,
    ) -> RetryDecision:
        """Give what the error asks for, if it asks for something."""
        if isinstance(exception, Ended) or _NO_PLACE in str(exception):
            return RetryDecision.fail()
        if isinstance(exception, TransientError) and exception.after_s is not None:
            return RetryDecision.retry(timedelta(seconds=exception.after_s), str(exception))
        return RetryDecision.default()

    def serialize(self) -> Mapping[str, Any]:
        """Give nothing: it has no settings."""
        return {}
