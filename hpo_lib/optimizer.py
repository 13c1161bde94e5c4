"""Ask and tell without Airflow: the same suggestions in a notebook as in a DAG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, SupportsFloat

from hpo_lib import engine
from hpo_lib.errors import SpecError
from hpo_lib.goal import Goal
from hpo_lib.space import Space, key
from hpo_lib.trial import Cause, Direction, History, Origin, Params, Trial, TrialState, Value
from hpo_lib.validation import shown


class Optimizer:
    """Suggests configurations and learns from what is observed.

    ```python
    optimizer = Optimizer({"x": {"type": "float", "low": -2.0, "high": 2.0}})
    for params in (p for _ in range(10) for p in optimizer.suggest(2)):
        optimizer.observe(params, (params["x"] - 1) ** 2)
    print(optimizer.best)
    ```

    What was suggested and not observed yet counts as under way: it is not suggested again.
    Suggestions depend on the order of calls and `seed` alone, and are those of a DAG run that
    asks for as many at a time.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        sampler: str = "bayesian",
        direction: str = "minimize",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        """Take the `space` of a spec and the sampler's own settings; SpecError says what is wrong.

        `direction` is minimize or maximize.
        """
        if direction not in tuple(Direction):
            raise SpecError(f"direction: must be minimize or maximize, got {shown(direction)}")
        self._goal = Goal.of(Direction(direction))
        self._space = space if isinstance(space, Space) else Space.parse(space)
        made = engine.make_sampler(sampler, self._space, self._goal, seed=seed, settings=settings)
        self._search = engine.Search(self._space, made, seed)
        self._trials: list[Trial] = []
        self._place: dict[str, int] = {}

    def suggest(self, n: int = 1) -> list[dict[str, Value]]:
        """Give `n` new configurations; fewer, in the end none, once the space is used up."""
        if n < 1:
            raise SpecError(f"n: must be >= 1, got {n}")
        suggestions = engine.suggest(self._search, History(tuple(self._trials)), n)
        for suggestion in suggestions:
            self._add(suggestion.params, suggestion.origin)
        return [dict(suggestion.params) for suggestion in suggestions]

    def observe(self, params: Params, value: float | None) -> None:
        """Record what a configuration gave; None, NaN or infinity mean that it failed.

        A configuration that was not suggested is recorded as a trial of its own; one that was
        observed before gets the new outcome instead of the old. SpecError if it is not of the
        space, or the value is no number.
        """
        outcome = _outcome(value)
        canonical = self._space.canonical(params)
        place = self._place.get(key(canonical))
        if place is None:
            place = self._add(canonical, Origin.INITIAL)
        self._trials[place] = replace(self._trials[place], **outcome)

    @property
    def best(self) -> tuple[dict[str, Value], float] | None:
        """The best configuration so far and its value; None before the first success."""
        trial = self._goal.best(self._trials)
        if trial is None or trial.value is None:
            return None
        return dict(trial.params), trial.value

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials by number, those under way included."""
        return tuple(self._trials)

    def _add(self, params: Params, origin: Origin) -> int:
        place = len(self._trials)
        self._trials.append(Trial(place + 1, dict(params), origin=origin))
        self._place[key(params)] = place
        return place


def _outcome(value: Any) -> dict[str, Any]:
    """Give the fields of a trial that its value decides."""
    if value is None:
        return _failed(Cause.OBJECTIVE_MISSING, "no value")
    if not isinstance(value, SupportsFloat):
        raise SpecError(f"value: must be a number or None, got {shown(value)}")
    number = float(value)
    if not math.isfinite(number):
        return _failed(Cause.OBJECTIVE_NOT_FINITE, f"the value is {number}")
    return {"state": TrialState.COMPLETE, "value": number, "cause": None, "reason": None}


def _failed(cause: Cause, reason: str) -> dict[str, Any]:
    return {"state": TrialState.FAILED, "value": None, "cause": cause, "reason": reason}
