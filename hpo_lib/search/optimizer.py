"""Ask and tell without Airflow: the same suggestions in a notebook as in a DAG."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsFloat

from hpo_lib.core import plain
from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.plain import scalar
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import (
    Cause,
    Direction,
    Earlier,
    History,
    Origin,
    Params,
    Trial,
    TrialState,
    Value,
)
from hpo_lib.errors import SpecError
from hpo_lib.search import suggesting
from hpo_lib.search.warm_start import listed
from hpo_lib.validation import shown
from hpo_lib.words import count

_log = logging.getLogger(__name__)

#: A configuration and its value, or its values by objective.
Found = tuple[dict[str, Value], float | tuple[float, ...]]


class Optimizer:
    """Suggests configurations and learns from what is observed.

    ```python
    optimizer = Optimizer({"x": {"type": "float", "low": -2.0, "high": 2.0}})
    for _ in range(10):
        for params in optimizer.suggest(2):
            optimizer.observe(params, (params["x"] - 1) ** 2)
    print(optimizer.best)
    ```

    What was suggested and not observed yet counts as under way: it is not suggested again.
    Suggestions depend on the order of calls and `seed` alone: a DAG run that asks for as many at
    a time gets the same.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        sampler: str = "auto",
        direction: str | Sequence[str] = "minimize",
        seed: int = 0,
        *,
        constraints: Sequence[str] = (),
        earlier: Iterable[tuple[Iterable[Sequence[Any]], float]] = (),
        **settings: Any,
    ) -> None:
        """Take the `space` of a spec and the sampler's own settings; SpecError says what is wrong.

        `direction` is minimize or maximize, or a list of them: one for each objective.
        `constraints` are those of a spec, such as `val_loss - loss <= 0.01`, over the `metrics`
        that are observed; the objectives are called `objective`, `objective_2` and so on in them.

        `earlier` are runs on other data that advise this one: for each the arguments of its calls
        of `observe`, and a weight (0 to 1) for how alike the data is. An observation outside the
        space is left out and counted in `dropped`; a warning in the log says how many and why.
        """
        goal = Goal.of(*_directions(direction))
        known = [name for name, _ in goal.objectives]
        self._goal = replace(goal, constraints=_parsed(constraints, known))
        seed, settings = scalar(seed), plain.read(settings)
        if not (isinstance(seed, int) and 0 <= seed < 2**32):
            raise SpecError(f"seed: must be within [0, 2**32), got {shown(seed)}")
        self._space = space if isinstance(space, Space) else Space.parse(space)
        made = suggesting.make_sampler(
            sampler, self._space, self._goal, seed=seed, settings=settings
        )
        self._search = suggesting.Search(self._space, made, seed)
        self._trials: list[Trial] = []
        self._place: dict[str, int] = {}
        #: How many observations of earlier runs lie outside the space.
        self.dropped = 0
        self._earlier = tuple(
            self._advice(f"earlier.{index}", run, weight)
            for index, (run, weight) in enumerate(earlier)
        )

    def suggest(self, n: int = 1) -> list[dict[str, Value]]:
        """Give `n` new configurations; fewer, in the end none, once the space is used up."""
        n = scalar(n)
        if not isinstance(n, int) or n < 1:
            raise SpecError(f"n: must be >= 1, got {shown(n)}")
        history = History(tuple(self._trials), earlier=self._earlier)
        suggestions = suggesting.suggest(self._search, history, n)
        for suggestion in suggestions:
            self._add(suggestion.params, suggestion.origin)
        return [self._space.nested(suggestion.params) for suggestion in suggestions]

    def observe(
        self,
        params: Params,
        value: float | Sequence[float] | None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Record what a configuration gave; None, NaN or infinity mean that it failed.

        Several objectives have a sequence of values. `metrics` holds what the constraints name. A
        configuration that was not suggested is recorded as a trial of its own; one that was
        observed before gets the new outcome instead of the old. numpy's scalars, and arrays and
        tensors of one element, are the numbers in them. SpecError if it is not in the space, if the
        value is no number, or if a metric of a constraint is missing.
        """
        outcome = _outcome(self._goal, value, metrics)
        lacking = [name for name in self._goal.metrics if name not in outcome["metrics"]]
        if lacking and outcome["state"] is TrialState.COMPLETE:
            names = ", ".join(lacking)
            given = [] if metrics is None else [*metrics.keys()]
            raise SpecError(f"metrics: the constraints name {names}, got {shown(given)}")
        place = self._place_of(params)
        self._trials[place] = replace(self._trials[place], **outcome)

    def observe_rung(self, params: Params, resource: float, value: float) -> None:
        """Record the first objective at less than the full resource, such as after 3 epochs of 27.

        The configuration stays under way until it is observed.
        """
        amount, found = _number("resource", resource), _number("value", value)
        if not 0 < amount < math.inf:
            raise SpecError(f"resource: must be a finite number > 0, got {amount}")
        if not math.isfinite(found):
            raise SpecError(f"value: must be finite, got {found}")
        place = self._place_of(params)
        trial = self._trials[place]
        self._trials[place] = replace(trial, rungs={**trial.rungs, amount: found})

    @property
    def best(self) -> Found | None:
        """The best configuration that keeps the constraints, and its value; None without one.

        With several objectives the first one decides, and the values of all are given.
        """
        trial = self._goal.best(self._trials)
        return None if trial is None else self._found(trial)

    @property
    def front(self) -> list[Found]:
        """The Pareto front: what keeps the constraints and is not dominated, with its values."""
        return [self._found(trial) for trial in self._goal.front(self._trials)]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials by number, those under way included."""
        return tuple(self._trials)

    def _place_of(self, params: Params) -> int:
        """Find a configuration's trial, or make one."""
        canonical = self._space.canonical(_values_of("params", params))
        place = self._place.get(key(canonical))
        return self._add(canonical, Origin.INITIAL) if place is None else place

    def _add(self, params: Params, origin: Origin) -> int:
        place = len(self._trials)
        self._trials.append(Trial(place + 1, dict(params), origin=origin))
        self._place[key(params)] = place
        return place

    def _found(self, trial: Trial) -> Found:
        values = self._goal.values(trial) or ()
        return self._space.nested(trial.params), values if self._goal.several else values[0]

    def _advice(self, at: str, run: Iterable[Sequence[Any]], weight: float) -> Earlier:
        """Read an earlier run, which may not have measured what the constraints name."""
        if not 0 <= _number("earlier", weight) <= 1:
            raise SpecError(f"earlier: a weight must be within [0, 1], got {shown(weight)}")
        trials: list[Trial] = []
        reasons: Counter[str] = Counter()
        for params, outcome in _rows(at, run, self._goal):
            try:
                canonical = self._space.canonical(params)
            except SpecError as error:
                reasons[str(error).rpartition(", got ")[0] or str(error)] += 1
            else:
                trials.append(Trial(len(trials) + 1, canonical, **outcome))
        if left_out := reasons.total():
            self.dropped += left_out
            whole = count(left_out + len(trials), "observation")
            _log.warning("%s: %s of %s left out: %s", at, left_out, whole, listed(reasons))
        return Earlier(tuple(trials), float(weight))


def _rows(at: str, run: Iterable[Any], goal: Goal) -> Iterator[tuple[Params, dict[str, Any]]]:
    """Give an earlier run's configurations and outcomes; SpecError names what is none."""
    for index, row in enumerate(run):
        here = f"{at}.{index}"
        try:
            params, value, *metrics = row
        except (TypeError, ValueError):
            what = "must be a configuration, its value and perhaps its metrics"
            raise SpecError(f"{here}: {what}, got {shown(row)}") from None
        try:
            yield _values_of("params", params), _outcome(goal, value, *metrics[:1])
        except SpecError as error:
            raise SpecError(f"{here}.{error}") from None


def _directions(said: str | Sequence[str]) -> list[Direction]:
    words = [said] if isinstance(said, str) else list(said)
    for word in words:
        if word not in tuple(Direction):
            raise SpecError(f"direction: must be minimize or maximize, got {shown(word)}")
    if not words:
        raise SpecError("direction: must name at least one, got []")
    return [Direction(word) for word in words]


def _parsed(constraints: Sequence[str], known: Sequence[str]) -> list[Constraint]:
    parsed = []
    for index, text in enumerate(constraints):
        try:
            parsed.append(Constraint.parse(text, known))
        except SpecError as error:
            raise SpecError(f"constraints.{index}: {error}") from None
    return parsed


def _outcome(goal: Goal, value: Any, metrics: Any = None) -> dict[str, Any]:
    """Give the fields of a trial that its values decide."""
    values = _values(goal, value)
    if None in values:
        return _failed(Cause.OBJECTIVE_MISSING, "no value")
    names = [name for name, _ in goal.objectives]
    given = {} if metrics is None else _mapping("metrics", metrics)
    found = {name: _number(f"metrics.{name}", one) for name, one in given.items()}
    found |= dict(zip(names, values, strict=True))
    for name in goal.metrics:
        if not math.isfinite(found.get(name, 0.0)):
            what = "value" if name == names[0] else f"value of {name}"
            return _failed(Cause.OBJECTIVE_NOT_FINITE, f"the {what} is {found[name]}")
    done = {"state": TrialState.COMPLETE, "cause": None, "reason": None}
    return done | {"value": found[names[0]], "metrics": found}


def _values(goal: Goal, value: Any) -> list[Any]:
    """Give one number or None for each objective."""
    count = len(goal.objectives)
    if value is None:
        return [None] * count
    if not goal.several:
        return [_number("value", value, "a number or None")]
    try:
        values = list(value)
    except TypeError:
        values = []
    if len(values) != count:
        raise SpecError(f"value: must be {count} numbers or None, got {shown(value)}")
    return [one if one is None else _number("value", one, "numbers or None") for one in values]


def _values_of(at: str, params: Any) -> dict[str, Any]:
    """Read a configuration's values; the space says whether they are right."""
    read = {name: _value_of(value) for name, value in _mapping(at, params).items()}
    for name, value in read.items():
        if not isinstance(value, str | int | float | list | dict | None):
            rule = "must be text, a number, true/false, or a list or mapping of these"
            raise SpecError(f"{at}.{name}: {rule}, got {shown(value)}")
    return read


def _value_of(value: Any) -> Any:
    """Read one value; of lists and mappings all that they hold."""
    return plain.read(value) if isinstance(value, list | tuple | dict) else scalar(value)


def _mapping(at: str, given: Any) -> dict[str, Any]:
    """Take a mapping, or what can be asked as one, such as a row of a table."""
    try:
        return {scalar(name): given[name] for name in given.keys()}  # noqa: SIM118 - a pandas row
    except (AttributeError, TypeError):
        raise SpecError(f"{at}: must be a mapping, got {shown(given)}") from None


def _number(path: str, value: Any, what: str = "a number") -> float:
    found = scalar(value)
    known = isinstance(found, int | float)
    if not known and (hasattr(found, "item") or not isinstance(found, SupportsFloat)):
        raise SpecError(f"{path}: must be {what}, got {shown(value)}")
    try:
        return float(found)
    except OverflowError:
        raise SpecError(f"{path}: must be {what} that is not beyond 1e308 (a finite one)") from None
    except (RuntimeError, TypeError, ValueError):
        raise SpecError(f"{path}: must be {what}, got {shown(value)}") from None


def _failed(cause: Cause, reason: str) -> dict[str, Any]:
    return {
        "state": TrialState.FAILED,
        "value": None,
        "metrics": {},
        "cause": cause,
        "reason": reason,
    }
