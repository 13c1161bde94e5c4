"""One value per metric of a trial's observations, all of one model, and what is kept for curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hpo_lib.core.trial import Observation
from hpo_lib.spec.sections import Objective

#: Observations kept of one metric: an evenly thinned series, never without its last and best.
MAX_PER_METRIC = 1_000


def summary(
    observations: Iterable[Observation], objectives: Sequence[Objective]
) -> tuple[list[Observation], dict[str, float]]:
    """Give what to keep of the observations, in their order, and one value per metric.

    The value is the last one, or with `reduce: best` an objective's best; NaN counts as a last
    value, but is the best only where there is nothing else. If the first objective is reduced to
    its best, metrics that are no objective are taken from the same model: from the best's own line;
    or else from what is written between it and the objective's next value (or the one before,
    where such metrics come first); or the nearest value of its step before steps go back. Without
    such a value a metric has none, unless it is always written apart from the objective, just once
    or without a step: then it is the whole run's, or its pass's.

    At most MAX_PER_METRIC are kept of each metric, among them the last one and all that a value
    comes from. The observations are read once and never held in full: a trial may print millions.
    """
    by_metric = {objective.metric: objective for objective in objectives}
    lead = by_metric[objectives[0].metric]
    follows = lead.reduce == "best"
    series: dict[str, _Series] = {}
    first = series[lead.metric] = _Series(lead)
    followers: list[_Series] = []
    for place, observation in enumerate(observations):
        name = observation.metric
        own = series.get(name)
        if own is None:
            own = series[name] = _Series(by_metric.get(name))
            if follows and own.objective is None:
                followers.append(own)
        own.add(place, observation)
        if own is first:
            for other in followers:
                other.follow(first)
        elif follows and own.objective is None:
            own.follow(first)
    seen = {name: one for name, one in series.items() if one.count}
    leader = first if follows and first.count else None
    values = {name: one.value(leader) for name, one in seen.items()}
    kept = sorted(pair for one in seen.values() for pair in one.kept())
    return [one for _, one in kept], {n: value for n, value in values.items() if value is not None}


#: An observation and its place in the stream; _NOWHERE if there is none yet.
_Place = tuple[int, Observation]
_NOWHERE: _Place = (-1, Observation("", math.nan))
#: How sure it is that a value is of the best's model.
_SAME_STEP, _SAME_GROUP, _SAME_LINE = 1, 2, 3


class _Series:
    """One metric's observations as they come: some of them, evenly thinned, and those that count.

    Every n-th is held, n doubled whenever too many are. A series that is no objective's `follow`s
    the first objective's, the lead: it looks for the partner of the lead's best.
    """

    def __init__(self, objective: Objective | None) -> None:
        self.objective, self.count, self._stride = objective, 0, 1
        self._held: dict[int, Observation] = {}
        self.first = self.last = self.best = _NOWHERE
        #: What came before the best, before the pass of the last, and before the pass of the best.
        self.before_best = self.before_pass = self.before_best_pass = _NOWHERE
        self.went_back = self.ever_back = False
        self._partner = self._partner_of = self._shared = self._looked_at = _NOWHERE
        self._rank, self._apart, self._met = 0, True, False
        self._neighbour = self._of_pass = _NOWHERE

    def add(self, place: int, observation: Observation) -> None:
        """Take the next value."""
        before, self.last = self.last, (place, observation)
        step, earlier = observation.step, before[1].step
        if step is not None and earlier is not None and step < earlier:
            self.went_back, self.ever_back, self.before_pass = True, True, before
        if not self.count:
            self.first = self.last
        if self.objective and _better(observation, self.best, self.objective):
            self.best, self.before_best = self.last, before
            self.before_best_pass, self.went_back = self.before_pass, False
        if self.count % self._stride == 0:
            self._held[place] = observation
        if len(self._held) > MAX_PER_METRIC - 3:
            self._stride *= 2
            self._held = dict(list(self._held.items())[::2])
        self.count += 1

    def follow(self, lead: _Series) -> None:
        """Look whether the last value is the partner of the lead's best."""
        if self.count == 0 or lead.count == 0:
            return
        own, newest = self.last[1], lead.last[1]
        if own.line is not None and own.line == newest.line:
            self._shared, self._apart = self.last, False
            if lead.best[1].line != own.line:
                self._drop_last()
        if self._rank == _SAME_LINE and self._partner_of is lead.best:
            return
        self._met |= own.step is not None and own.step == newest.step
        if self._partner_of is not lead.best:
            self._partner = self._neighbour = self._of_pass = _NOWHERE
            self._partner_of, self._rank, self.went_back = lead.best, 0, False
        elif self._looked_at is self.last:
            return
        self._looked_at = self.last
        if lead.best is not _NOWHERE:
            self._consider(lead)

    def _drop_last(self) -> None:
        """The last value has turned out to stand in the line of another of the lead's."""
        if self._partner is self.last:
            self._partner, self._rank = _NOWHERE, 0
        self._neighbour = _NOWHERE if self._neighbour is self.last else self._neighbour
        self._of_pass = _NOWHERE if self._of_pass is self.last else self._of_pass

    def _consider(self, lead: _Series) -> None:
        place, own = self.last
        step, best = own.step, lead.best
        if own.line is not None and own.line == best[1].line:
            self._partner, self._rank = self.last, _SAME_LINE
            return
        if self._shared is self.last:
            return
        beside = lead.beside_best(place, after=lead.first[0] < self.first[0])
        if place > lead.before_best_pass[0] and not lead.went_back:
            self._of_pass = self.last
            if beside:
                self._neighbour = self.last
        alike = None in (step, best[1].step) or step == best[1].step
        if self._rank >= _SAME_GROUP:
            return
        if beside and alike:
            self._partner, self._rank = self.last, _SAME_GROUP
        elif self._same_step(lead) and self._nearer(place, best[0]):
            self._partner, self._rank = self.last, _SAME_STEP

    def beside_best(self, place: int, *, after: bool) -> bool:
        """Say whether a place is in the best's group: a lead and what comes after, or before."""
        if after:
            return self.best[0] < place and self.last is self.best
        return self.before_best[0] < place < self.best[0]

    def _same_step(self, lead: _Series) -> bool:
        """Say whether the last value is of the best's step, before steps go back."""
        place, own = self.last
        return (
            own.step is not None
            and own.step == lead.best[1].step
            and lead.before_best_pass[0] < place
            and not self.went_back
            and not lead.went_back
        )

    def _nearer(self, place: int, best: int) -> bool:
        return self._rank == 0 or abs(place - best) < abs(self._partner[0] - best)

    def value(self, lead: _Series | None) -> float | None:
        """Give the value that counts, None if there is none; `lead` where it is its best."""
        if self.objective is not None or lead is None:
            best = self.objective is not None and self.objective.reduce == "best"
            return (self.best if best and self.best is not _NOWHERE else self.last)[1].value
        chosen = self._partner
        if chosen is _NOWHERE and not self._met:  # it counts other steps, or none
            chosen = self._neighbour
        if chosen is _NOWHERE and self._apart and self.last[1].step is None and self.count > 1:
            chosen = self._of_pass if lead.ever_back else self.last
        if chosen is _NOWHERE and self._apart and self.count == 1:
            chosen = self.last
        return None if chosen is _NOWHERE else chosen[1].value

    def kept(self) -> list[_Place]:
        """List what is kept, in the order of the series."""
        those = (self.last, self.best, self._partner)
        extra = dict(one for one in those if one is not _NOWHERE)
        return sorted((self._held | extra).items())


def _better(new: Observation, best: _Place, objective: Objective) -> bool:
    if not math.isfinite(new.value):
        return False
    return best is _NOWHERE or objective.direction.better(new.value, than=best[1].value)
