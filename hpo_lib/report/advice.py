"""What to do next, in sentences with numbers: what mattered, where bounds cut, what was unsure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpo_lib.core.trial import Cause
from hpo_lib.core.values import is_number
from hpo_lib.records import RunView
from hpo_lib.report import timeline
from hpo_lib.report.facts import Facts, value_of
from hpo_lib.report.importance import ROUNDS, Importance
from hpo_lib.report.left import Left, left
from hpo_lib.report.narrower import Narrower, at_an_edge, good, narrower
from hpo_lib.words import count, number, percent, spoken

#: Fewer complete trials than these for each parameter say little; an idle share worth a word.
_PER_PARAMETER, _IDLE = 5, 0.25
#: What asks for another amount of something.
_SHORT = {
    Cause.OUT_OF_MEMORY: "ask for more memory, or bound what they need of it",
    Cause.TIMEOUT: "give them a longer timeout, or bound what takes them so long",
    Cause.PREEMPTED: "keep checkpoints, or take workers that stay",
    Cause.EVICTED: "ask for what they use, so that nobody evicts them",
    Cause.UNSCHEDULABLE: "ask for less, or for fewer at once",
}


@dataclass(frozen=True)
class Next:
    """What a run's trials advise; every part may be empty."""

    facts: Facts
    importance: Sequence[Importance] = ()

    @classmethod
    def of(cls, view: RunView, importance: Sequence[Importance] = ()) -> Next:
        """Take what `importance_of` has found."""
        return cls(Facts.of(view), importance)

    @property
    def mattered(self) -> list[str]:
        """Which parameters mattered, by objective."""
        return [one.said for one in self.importance]

    @property
    def edges(self) -> list[str]:
        """Where the bounds cut: the best trial lies at an edge, alone or with others."""
        best, front = good(self.facts), self.facts.front
        found = []
        several = len(front) > 1
        whose = f"trial {front[0].trial.number} on the front" if several else "the best trial"
        for one, end, value in at_an_edge(self.facts):
            values = [params[one.name] for params in best if one.name in params]
            places = [one.place(float(each)) for each in values if is_number(each)]
            near = sum(place <= 0.1 if end == "lower" else place >= 0.9 for place in places)
            bound = one.low if end == "lower" else one.high
            said = (
                f"{one.name}: {number(value)} of {whose} lies at the {end} end of its range, "
                f"{number(bound)}"
            )
            said += f", as do {near} of the {len(places)} best." if near > 1 else "."
            outward = "lower" if end == "lower" else "higher"
            found.append(f"{said} If it may be {outward}, let it.")
        return found

    @cached_property
    def narrower(self) -> Narrower | None:
        """The space of a narrower follow-up."""
        return narrower(self.facts)

    @cached_property
    def left(self) -> Left | None:
        """What more trials may bring."""
        return left(self.facts)

    @property
    def resources(self) -> list[str]:
        """What to change in resources."""
        facts, found = self.facts, []
        causes = Counter(view.trial.cause for view in facts.failed)
        for cause, remedy in _SHORT.items():
            if causes[cause]:
                trials = f"{count(causes[cause], 'trial')} of {len(facts.trials):,}"
                found.append(f"{trials} failed for {spoken(cause)}: {remedy}.")
        placed = timeline.bars(facts)
        idle = timeline.idle(placed, facts.slots)
        if idle and idle.share >= _IDLE and len(facts.trials) > facts.slots > 1:
            how = "use mode: async, or fewer slots" if idle.waves else "use fewer slots"
            found.append(f"{percent(idle.share)} of {idle.slots} slots stood empty: {how}.")
        return found

    @property
    def unsure(self) -> list[str]:
        """What the trials do not tell."""
        return [*self._few(), *self._shaky(), *self._narrow_lead()]

    def _few(self) -> Iterator[str]:
        facts = self.facts
        complete, parameters = len(facts.complete), len(facts.parameters)
        if parameters and complete < _PER_PARAMETER * parameters:
            told = count(complete, "complete trial")
            yield f"{told} for {count(parameters, 'parameter')} are few."

    def _shaky(self) -> Iterator[str]:
        for one in self.importance:
            shaky = [m.name for m in one.methods if m.first < ROUNDS * 0.7]
            if shaky:
                yield (
                    f"Which parameter matters most for {one.metric} hangs on which trials are "
                    f"looked at, by {' and '.join(shaky)}."
                )

    def _narrow_lead(self) -> Iterator[str]:
        """Say that the best is hardly better than the next, where nobody knows the noise.

        After a final training with repeats one does.
        """
        facts = self.facts
        ranked = [v for v in facts.ranked if v.trial.number not in facts.infeasible]
        if facts.several or facts.view.finals or len(ranked) < _PER_PARAMETER:
            return
        values = [value for view in ranked if (value := value_of(view)) is not None]
        lead, spread = abs(values[0] - values[1]), abs(values[0] - values[len(values) // 2])
        if math.isfinite(lead) and lead < 0.1 * spread:
            first, second = ranked[0].trial.number, ranked[1].trial.number
            ahead = f"Trial {first} leads trial {second} by {number(lead, 2)} only"
            level = f"Trials {first} and {second} are level"
            yield (
                f"{ahead if lead else level}; another seed may change their order. A final "
                "training with repeats would tell."
            )
