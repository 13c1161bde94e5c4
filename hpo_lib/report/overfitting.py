"""Training against validation: pairs of metrics such as loss and val_loss."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_lib.records import TrialView
from hpo_lib.report.facts import Facts, metric_of

_VALIDATION = re.compile(r"(val|valid|validation)([_./-])(.+)")
_LOWER_IS_BETTER = re.compile(r"loss|err|mse|mae|rms|mape|perplex|deviance|entropy", re.I)
_MAX_PAIRS = 3


@dataclass(frozen=True)
class Pair:
    """The same quantity on training and on validation data."""

    train: str
    validation: str

    @property
    def lower_is_better(self) -> bool:
        """Guess from its name which way it improves."""
        return bool(_LOWER_IS_BETTER.search(self.train))

    @property
    def gap(self) -> str:
        """Name validation minus training, as a metric of its own."""
        return f"{self.train}_diff"

    def of(self, facts: Facts, view: TrialView) -> float | None:
        """Give validation minus training of a trial; None if it lacks one of both."""
        left = metric_of(facts, view, self.train)
        right = metric_of(facts, view, self.validation)
        return None if left is None or right is None else right - left

    def places(self, metrics: Sequence[str]) -> dict[str, int | bool]:
        """Say where its three metrics stand in a list that has them."""
        return {
            "train": metrics.index(self.train),
            "validation": metrics.index(self.validation),
            "gap": metrics.index(self.gap),
            "lower_is_better": self.lower_is_better,
        }


def pairs(facts: Facts) -> list[Pair]:
    """List the pairs of which some trial has both values, losses first."""
    names = [*(objective.metric for objective in facts.objectives), *facts.metrics]
    found = []
    for name in names:
        match = _VALIDATION.fullmatch(name)
        for base in _bases(match) if match else ():
            if base in names and _both(facts, Pair(base, name)):
                found.append(Pair(base, name))
                break
    return sorted(found, key=lambda pair: "loss" not in pair.train)[:_MAX_PAIRS]


def _bases(match: re.Match[str]) -> list[str]:
    rest, dash = match[3], match[2]
    return [rest, f"train{dash}{rest}", f"training{dash}{rest}"]


def _both(facts: Facts, pair: Pair) -> list[TrialView]:
    return [
        view
        for view in facts.trials
        if metric_of(facts, view, pair.train) is not None
        and metric_of(facts, view, pair.validation) is not None
    ]
