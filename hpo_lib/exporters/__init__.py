"""Exporters: a run's results in other tools' own forms. One file each, a row in the registry.

An exporter reads what it is given and writes to its target; the store stays the truth. It may be
called at any time, also while the run goes on, and again: what it has brought before is replaced,
nothing is there twice. An example, which writes values to a file:

    class ValuesExporter:
        def __init__(self, target):
            self.file = Path(target)

        def export(self, run):
            values = {one.trial.number: one.trial.value for one, _ in run.trials()}
            artifacts.write(self.file, json.dumps(values).encode())
            return str(self.file)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from hpo_lib.core.trial import Observation, TrialState
from hpo_lib.records import RunView, TrialView

#: What an attempt has reported: trial, attempt, and one value.
Reported = tuple[int, int, Observation]
#: What a trial has reported, by metric: a value a step, in the order of the steps.
Series = Mapping[str, Sequence[Observation]]


@dataclass(frozen=True, slots=True)
class Exported:
    """A run to be exported. `reported` gives all that attempts have reported, by trial."""

    view: RunView
    reported: Callable[[], Iterable[Reported]]

    def trials(self) -> Iterator[tuple[TrialView, Series]]:
        """Give every trial, those of final training too, with its series, one after the other."""
        views = sorted([*self.view.trials, *self.view.finals], key=lambda one: one.trial.number)
        groups = groupby(self.reported(), key=lambda one: one[0])
        number, group = next(groups, (math.inf, iter(())))
        for one in views:
            while number < one.trial.number:
                number, group = next(groups, (math.inf, iter(())))
            same = number == one.trial.number
            yield one, series(seen for _, _, seen in group) if same else {}


def series(reported: Iterable[Observation]) -> Series:
    """Give each metric's values by step, of attempts in their order.

    A later attempt's report of a step counts; a report without a step is the one after the last.
    """
    found: dict[str, dict[int, Observation]] = {}
    last: dict[str, int] = {}
    for seen in reported:
        step = last.get(seen.metric, 0) + 1 if seen.step is None else seen.step
        last[seen.metric] = max(step, last.get(seen.metric, step))
        found.setdefault(seen.metric, {})[step] = seen._replace(step=step)
    return {name: [curve[step] for step in sorted(curve)] for name, curve in found.items()}


def results_of(view: RunView, one: TrialView) -> dict[str, float]:
    """Give a trial's finite metrics by name, its value as that of the first objective."""
    metrics = dict(one.trial.metrics)
    if one.trial.state is TrialState.COMPLETE and one.trial.value is not None:
        metrics[view.run.outline.objectives[0].metric] = one.trial.value
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


class Exporter(Protocol):
    """Brings runs to one target: a file, a folder or an address, which SpecError refuses."""

    def __init__(self, target: str) -> None:
        """Take where to."""
        ...

    def export(self, run: Exported) -> str:
        """Bring a run there, and say where it is now; TransientError, then it may be half there."""
        ...
