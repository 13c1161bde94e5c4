"""First in, first out: every trial runs to its end at full resource."""

from __future__ import annotations

from hpo_lib.core.trial import Assignment, Decision, History, Trial
from hpo_lib.schedulers import NoSettings, Scheduler, Suggest


class FifoScheduler(Scheduler):
    """Starts each suggestion as a new trial."""

    Settings = NoSettings

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Number the suggestions in order."""
        first = len(history.trials) + 1
        return [
            Assignment(number, suggestion.params, suggestion.origin)
            for number, suggestion in enumerate(suggest(history, capacity), start=first)
        ]

    def judge(self, trial: Trial, history: History) -> Decision:  # noqa: ARG002
        """Let it run."""
        return Decision.go_on(f"fifo runs trial {trial.number} to its end")
