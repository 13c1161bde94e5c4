"""The scheduler `auto`: a trial goes on while its curve, as this run's curves tell, promises most.

Freeze and thaw: trials wait at rungs, and every free place goes to whose end may be the lowest: a
forecast (`hpo_lib.schedulers.moves`) of where its curve ends, less a share of the forecast's
deviation (the lower confidence bound of Cox and John, "A statistical method for global
optimization", 1992). Two shares of the steps are no matter of that: one begins new trials, for the
more there are, the better is the best; one trains the earliest trials to the end whatever their
losses, so that the run finds out whether early losses mislead. The sampler is told the forecasts,
as if trials had ended so: a model of what was seen at a low rung would be misled with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hpo_lib.core.normal import chance_below
from hpo_lib.core.space import key
from hpo_lib.core.trial import (
    Assignment,
    Decision,
    History,
    Suggestion,
    Trial,
    TrialState,
)
from hpo_lib.schedulers import Scheduler, Suggest
from hpo_lib.schedulers.features import features_of
from hpo_lib.schedulers.moves import Moves
from hpo_lib.schedulers.rungs import begin, place, promote
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: So many trials are begun before anything is forecast.
_FIRST = 6
#: This share of the steps begins new trials, and at most so many for the steps of a whole training.
_BEGUN, _A_TRAINING = 0.25, 6
#: This share of the steps goes to trials that are trained to the end whatever their losses.
_PROBED = 0.1
#: An end may be lower than its forecast by so many deviations: with more of them too many trials
#: are looked at, and too few are trained to their end.
_LOWER = 0.6
#: Trials whose ends are forecast: those that may have shown something, and have not ended.
_SHORT = (TrialState.RUNNING, TrialState.WAITING, TrialState.STOPPED)
#: A trial that is less likely than this to become the best is not trained on.
_HOPELESS = 0.005


class AutoSettings(Strict):
    """`max` is the full resource; rungs are that, divided by the factor again and again.

    `resource` is the word for the unit in reasons: epoch, round, sample.
    """

    max: int = Field(ge=1, le=10**12)
    reduction_factor: int = Field(default=3, ge=2, le=1_000)
    resource: str = Field(default="step", min_length=1, max_length=40)
    STAND_INS: ClassVar = {"max": 1}


def rungs_to(most: int, factor: int) -> list[int]:
    """List the rungs up to `most`: each is the one above divided by the factor, rounded."""
    found, part = [most], factor
    while (rung := (2 * most + part) // (2 * part)) >= 1 and rung < found[0]:
        found.insert(0, rung)
        part *= factor
    return found


@dataclass(frozen=True, slots=True)
class _Forecast:
    """Where a trial ends, beside the best end so far; low on the scale is good."""

    of: Trial
    loss: float
    may_be: float
    chance: float


class AutoScheduler(Scheduler):
    """Gives every free place to whose end may be the lowest; several objectives by the first."""

    Settings = AutoSettings
    promotes = True
    settings: AutoSettings

    @property
    def rungs(self) -> list[int]:
        """The amounts at which trials wait; the last one is the end."""
        return rungs_to(self.settings.max, self.settings.reduction_factor)

    def waves(self, trials: int, capacity: int) -> int:
        """Count as if every trial went to the end by every rung."""
        return math.ceil(trials * len(self.rungs) / capacity) + 2 * len(self.rungs)

    def admit(self, history: History, suggest: Suggest, capacity: int) -> list[Assignment]:
        """Begin what is due to begin and probe what is due; the rest by how low ends may be.

        The sampler is asked for no more than is begun, for its model may take its time.
        """
        due, forecasts = min(self._openings(history), capacity), self._forecasts(history)
        others = self._going_on(history, forecasts, capacity) if due < capacity else []
        fresh = suggest(self._foreseen(history, forecasts), max(due, capacity - len(others)))
        if len(fresh) < due:  # No more is to begin.
            others = others or self._going_on(history, forecasts, capacity)
        begun = [self._begun(history, nth, one) for nth, one in enumerate(fresh)]
        return [*begun, *others[: capacity - len(begun)]]

    def judge(self, trial: Trial, history: History) -> Decision:  # noqa: ARG002
        """Stop nothing: what waits may go on as long as the run does."""
        return Decision.go_on(f"auto lets trial {trial.number} wait for its turn")

    def _openings(self, history: History) -> int:
        """Count how many trials it is time to begin; what a user asks for is due at once."""
        spent = _spent(history)
        by_steps = _BEGUN * spent / self.rungs[0]
        by_trainings = _FIRST + _A_TRAINING * spent / self.settings.max
        due = max(_FIRST, math.ceil(min(by_steps, by_trainings))) - len(history.trials)
        return max(due, self._asked_for(history), 0)

    def _asked_for(self, history: History) -> int:
        """Count the initial points that were not tried yet."""
        if not self.initial:
            return 0
        tried = {trial.digest or key(trial.params) for trial in history.trials}
        return len({key(self.space.canonical(one)) for one in self.initial} - tried)

    def _foreseen(self, history: History, forecasts: Sequence[_Forecast]) -> History:
        """Show trials as if they had ended as forecast, once one has; of one objective only."""
        if not history.of(TrialState.COMPLETE) or self.goal.several or self.goal.constraints:
            return history
        ends = {it.of.number: self.goal.direction.loss(it.loss) for it in forecasts}
        return replace(history, trials=tuple(_ended(one, ends) for one in history.trials))

    def _going_on(
        self, history: History, forecasts: Sequence[_Forecast], capacity: int
    ) -> list[Assignment]:
        """List what may go on in so many places, first of all whom it is time to probe."""
        probes = self._probes(history)[:capacity]
        probed = {trial.number for trial in probes}
        hopeless = _HOPELESS if history.of(TrialState.COMPLETE) else 0.0
        others = [
            it
            for it in sorted(forecasts, key=lambda it: it.may_be)
            if _waits(it.of) and it.of.number not in probed and it.chance >= hopeless
        ]
        taken = (self._taken(history, it) for it in others[: capacity - len(probes)])
        return [*map(self._probed, probes), *taken]

    def _forecasts(self, history: History) -> list[_Forecast]:
        """Forecast where trials end that have not got there."""
        import numpy as np

        known = [trial for trial in history.trials if self._losses(trial)]
        who = np.array([row for row, one in enumerate(known) if one.state in _SHORT], dtype=int)
        if not len(who):
            return []
        moves = Moves(features_of([trial.params for trial in known]), self._seen(known))
        mean, variance = moves.beliefs(who)
        deviation = np.sqrt(variance)
        ended = moves.levels[~np.isnan(moves.levels[:, -1]), -1]
        best = float(ended.min()) if len(ended) else 0.0
        chance = chance_below((best - mean) / deviation)
        may_be = mean - _LOWER * deviation
        return [
            _Forecast(known[row], moves.scale.back(float(end)), float(low), float(likely))
            for row, end, low, likely in zip(who, mean, may_be, chance, strict=True)
        ]

    def _seen(self, known: Sequence[Trial]) -> NDArray[np.float64]:
        """Give losses at rungs, a row a trial; what is infinite is the worst of all."""
        import numpy as np

        seen = np.full((len(known), len(self.rungs)), np.nan)
        for row, trial in enumerate(known):
            for column, loss in self._losses(trial).items():
                seen[row, column] = loss
        worst = float(np.nanmax(np.where(np.isfinite(seen), seen, np.nan), initial=-math.inf))
        finite = worst if math.isfinite(worst) else 0.0
        return np.where(np.isinf(seen), finite, seen)

    def _losses(self, trial: Trial) -> dict[int, float]:
        """Give a trial's losses by the index of their rung; what is no number is infinite."""
        places = {float(rung): place for place, rung in enumerate(self.rungs)}
        values = {places[at]: value for at, value in trial.rungs.items() if at in places}
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            values[len(self.rungs) - 1] = trial.value
        losses = {at: self.goal.direction.loss(value) for at, value in values.items()}
        return {at: loss if math.isfinite(loss) else math.inf for at, loss in losses.items()}

    def _reached(self, trial: Trial) -> int:
        """Give the index of the highest rung that a trial has reached, -1 if none."""
        reached = max(trial.rungs, default=0.0)
        return sum(1 for rung in self.rungs[:-1] if rung <= reached) - 1

    def _probes(self, history: History) -> list[Trial]:
        """List the earliest trials that it is time to train to the end, whatever their losses."""
        due = int(_PROBED * _spent(history) / self.settings.max)
        gone = (TrialState.FAILED, TrialState.STOPPED)
        there = [trial for trial in history.trials if trial.state not in gone][:due]
        return [trial for trial in there if _waits(trial)]

    def _probed(self, trial: Trial) -> Assignment:
        return self._promoted(
            trial,
            f"{self._where(trial)} goes to the end whatever it promises, "
            "to learn whether early losses mislead",
        )

    def _begun(self, history: History, nth: int, one: Suggestion) -> Assignment:
        number = len(history.trials) + 1 + nth
        return begin(number, one, self.rungs[0], self.settings.max)

    def _taken(self, history: History, it: _Forecast) -> Assignment:
        return self._promoted(it.of, self._reason(history, it))

    def _promoted(self, trial: Trial, reason: str) -> Assignment:
        """Let a trial go on to its next rung."""
        rung = self.rungs[self._reached(trial) + 1]
        return promote(trial, rung, self.settings.max, reason)

    def _where(self, trial: Trial) -> str:
        """Say what a trial has come to: "epoch 9: 0.41"."""
        at = max(trial.rungs, default=0.0)
        value = f"{trial.rungs[at]:.4g}" if trial.rungs else "nothing seen"
        return f"{place(self.settings.resource, at)}: {value}"

    def _reason(self, history: History, it: _Forecast) -> str:
        """Say what is expected: "epoch 9: 0.41 is forecast to end at 0.36, …"."""
        loss = self.goal.direction.loss
        best = self.goal.best(history.trials)
        than = "the middle" if best is None else f"the best, {best.value:.4g}"
        return (
            f"{self._where(it.of)} is forecast to end at {loss(it.loss):.4g}, "
            f"better than {than} with a chance of {it.chance:.0%}: it promises most"
        )


def _ended(trial: Trial, ends: Mapping[int, float]) -> Trial:
    """Show a trial without its rungs, and complete if an end is given for it."""
    if trial.number not in ends:
        return replace(trial, rungs={})
    return replace(trial, state=TrialState.COMPLETE, value=ends[trial.number], rungs={})


def _waits(trial: Trial) -> bool:
    return trial.state is TrialState.WAITING


def _spent(history: History) -> float:
    """Sum up the steps of all trials."""
    return sum(max(trial.rungs, default=0.0) for trial in history.trials)
