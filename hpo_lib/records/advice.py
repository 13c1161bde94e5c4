"""What earlier runs tell a new one, as it is kept with the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo_lib.core.trial import Earlier, Trial, TrialState
from hpo_lib.words import count, number


@dataclass(frozen=True, slots=True)
class Told:
    """What one earlier run tells: some of its trials, on the new run's space."""

    run: int
    experiment: str
    weight: float
    trials: Sequence[Trial]


@dataclass(frozen=True, slots=True)
class Advice:
    """The earlier runs that advise a run, and sentences on what was dropped and why.

    `mode` is why the run has its mode, where its spec has left that to `auto`.
    """

    runs: Sequence[Told] = ()
    dropped: Sequence[str] = ()
    mode: str = ""

    @property
    def earlier(self) -> tuple[Earlier, ...]:
        """Give it as a history holds it."""
        return tuple(Earlier(run.trials, run.weight) for run in self.runs)

    @property
    def summary(self) -> str:
        """Say how much there is."""
        trials = sum(len(run.trials) for run in self.runs)
        return f"{count(len(self.runs), 'earlier run')}, {count(trials, 'trial')}"

    def noting(self, sentence: str | None) -> Advice:
        """Add a sentence, unless there is none, to what was dropped."""
        return replace(self, dropped=(*self.dropped, sentence)) if sentence else self

    def lines(self) -> Iterator[str]:
        """Say what advises, a run a line, then what was dropped, and why it has its mode."""
        if self.runs:
            yield f"advised by {self.summary}"
        for run in self.runs:
            told = count(len(run.trials), "trial")
            yield f"run {run.run} of {run.experiment}: {told}, weight {number(run.weight, 2)}"
        yield from self.dropped
        if self.mode:
            yield f"mode auto: {self.mode}"

    def dump(self) -> dict[str, Any]:
        """Give the plain form; empty if there is nothing to say."""
        told: dict[str, Any] = {"mode": self.mode} if self.mode else {}
        if self.runs or self.dropped:
            told |= {"runs": [_plain(run) for run in self.runs], "dropped": list(self.dropped)}
        return told

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Advice:
        """Read the plain form; if it is malformed, the advice says only that it cannot be read."""
        try:
            runs = tuple(_told(run) for run in plain.get("runs", ()))
            dropped = tuple(str(sentence) for sentence in plain.get("dropped", ()))
            return cls(runs, dropped, str(plain.get("mode", "")))
        except (AttributeError, KeyError, TypeError):
            return cls(dropped=("what earlier runs told this one cannot be read any more",))


def _plain(told: Told) -> dict[str, Any]:
    trials = [
        {"number": t.number, "params": dict(t.params), "value": t.value, "metrics": dict(t.metrics)}
        for t in told.trials
    ]
    named = {"run": told.run, "experiment": told.experiment}
    return {**named, "weight": told.weight, "trials": trials}


def _told(plain: Mapping[str, Any]) -> Told:
    trials = tuple(Trial(state=TrialState.COMPLETE, **trial) for trial in plain["trials"])
    return Told(plain["run"], plain["experiment"], plain["weight"], trials)
