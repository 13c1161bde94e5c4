"""scikit-optimize's own Optimizer: a Gaussian process, random forest or extra trees."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Params, Suggestion, Trial, TrialState
from hpo_lib.samplers import Sampler
from hpo_lib.samplers.adapters.library import (
    Coordinate,
    Scale,
    axes,
    bent,
    configuration,
    draw_seed,
    lessons,
    one_objective,
    quiet,
    sole,
    without_constraints,
)
from hpo_lib.validation import Strict, rule

#: A fit takes time cubic in what it is told (150: about two seconds), a forest's does not.
_MAX_TOLD = {"GP": 150, "RF": 2_000, "ET": 2_000}


class SkoptSearch(Strict):
    """How the next point is looked for: among random ones, then from the best of them."""

    n_points: int = Field(default=10_000, ge=1, le=100_000)
    n_restarts_optimizer: int = Field(default=5, ge=1, le=100)


class SkoptSettings(Strict):
    """As in skopt.Optimizer; `strategy` is the lie about trials under way: the best loss and so on.

    gp_hedge draws EI, LCB or PI with equal chances: what it learns of them is in the Optimizer,
    which lives for one call only.
    """

    base_estimator: Literal["GP", "RF", "ET", "GBRT"] = "GP"
    n_initial_points: int = Field(default=10, ge=1, le=1_000)
    initial_point_generator: Literal["random", "sobol", "halton", "hammersly", "lhs", "grid"] = (
        "random"
    )
    acq_func: Literal["gp_hedge", "EI", "LCB", "PI", "MES"] = "gp_hedge"
    acq_optimizer: Literal["auto", "sampling", "lbfgs"] = "auto"
    acq_func_kwargs: dict[Literal["xi", "kappa"], float] = Field(default_factory=dict)
    acq_optimizer_kwargs: SkoptSearch = SkoptSearch()
    strategy: Literal["cl_min", "cl_mean", "cl_max"] = "cl_min"

    @field_validator("base_estimator")
    @classmethod
    def _check_estimator(cls, name: str) -> str:
        if name == "GBRT":
            raise rule("GBRT does not work with the scikit-learn of today; use GP, RF or ET")
        return name

    @model_validator(mode="after")
    def _check_optimizer(self) -> SkoptSettings:
        if self.acq_optimizer == "lbfgs" and self.base_estimator != "GP":
            raise rule(f"acq_optimizer: lbfgs is for GP, got {self.base_estimator}")
        return self


class SkoptSampler(Sampler):
    """Builds an Optimizer of the history, tells it everything at once, and asks it.

    Failed and infeasible trials count as the worst loss. What is inactive has its middle value. Of
    a long history a Gaussian process is told the best and the latest trials.
    """

    Settings = SkoptSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take SkoptSettings; SpecError for several objectives."""
        super().__init__(space, goal, seed, settings)
        one_objective("skopt", goal)
        self._options = SkoptSettings.model_validate(settings)
        self._axes = {axis.name: axis for axis in axes(space)}

    @property
    def blind(self) -> int:
        """The number of initial points."""
        return self._options.n_initial_points

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the initial points that are still due, then what the Optimizer asks for."""
        if not self._axes:
            return sole(self.space, count)
        with quiet():
            losses = _losses(history, self.goal)
            n_made = len(history.trials)
            due = count if not losses else min(max(self.blind - n_made, 0), count)
            points = self._initial(n_made, due)
            if due < count:
                points += self._asked(history, losses, points, count - due)
        return [Suggestion(self._meant(point)) for point in points]

    def _initial(self, first: int, count: int) -> list[list[Any]]:
        """Give initial points `first` to `first + count - 1` (from 0); more come at random."""
        from skopt.space import Space as Dimensions
        from skopt.utils import cook_initial_point_generator

        dimensions = Dimensions(self._dimensions())
        generator = cook_initial_point_generator(self._options.initial_point_generator)
        planned: list[list[Any]] = []
        if generator is not None and first < self.blind:
            seed = draw_seed(self.seed)
            planned = generator.generate(dimensions.dimensions, self.blind, random_state=seed)
        numbers = range(max(first, len(planned)), first + count)
        seeds = [draw_seed(self.seed, number + 1) for number in numbers]
        drawn = [dimensions.rvs(1, random_state=seed)[0] for seed in seeds]
        return [*planned[first : first + count], *drawn]

    def _asked(
        self, history: History, losses: dict[int, float], points: list[list[Any]], count: int
    ) -> list[list[Any]]:
        """Tell an Optimizer the history, lie about what is under way, and ask it."""
        from skopt import Optimizer

        options = self._options
        optimizer = Optimizer(
            self._dimensions(),
            base_estimator=options.base_estimator,
            n_initial_points=0,
            acq_func=options.acq_func,
            acq_func_kwargs=dict(options.acq_func_kwargs),
            acq_optimizer=options.acq_optimizer,
            acq_optimizer_kwargs=options.acq_optimizer_kwargs.model_dump(),
            random_state=draw_seed(self.seed, len(history.trials) + 1),
        )
        done = _worth_telling(history, losses, _MAX_TOLD[options.base_estimator])
        told = [self._told(trial.params) for trial in done]
        values = [losses[trial.number] for trial in done]
        lie = _lie(options.strategy, values)
        pending = [self._told(trial.params) for trial in history.of(TrialState.RUNNING)] + points
        optimizer.tell(told + pending, values + [lie] * len(pending))
        asked = [optimizer.ask()]
        while len(asked) < count:
            optimizer.tell(asked[-1], lie)
            asked.append(optimizer.ask())
        return asked

    def _dimensions(self) -> list[Any]:
        return [_dimension(axis) for axis in self._axes.values()]

    def _told(self, params: Params) -> list[Any]:
        return [
            axis.told(params[name]) if name in params else axis.middle
            for name, axis in self._axes.items()
        ]

    def _meant(self, point: list[Any]) -> Params:
        told = dict(zip(self._axes, point, strict=True))
        return configuration(self.space, lambda name: self._axes[name].meant(told[name]))


def _dimension(axis: Coordinate) -> Any:
    from skopt.space import Categorical, Integer, Real

    if axis.scale is Scale.SHARE:
        return Real(0.0, 1.0)
    if axis.scale is Scale.CHOICES:
        return Categorical(list(range(axis.parameter.size)))
    return Integer(0, axis.parameter.size - 1)


def _losses(history: History, goal: Goal) -> dict[int, float]:
    """Give a loss for every finished trial; nothing before two of them differ."""
    taught = without_constraints(lessons(history, goal))
    losses = {number: lesson.losses[0] for number, lesson in taught.items()}
    return bent(losses) if len(set(losses.values())) > 1 else {}


def _lie(strategy: str, losses: list[float]) -> float:
    lies = {"cl_min": min(losses), "cl_max": max(losses), "cl_mean": sum(losses) / len(losses)}
    return lies[strategy]


def _worth_telling(history: History, losses: dict[int, float], most: int) -> list[Trial]:
    """Keep the best and the latest trials, half of each, when there are too many."""
    done = sorted((t for t in history.trials if t.number in losses), key=lambda t: t.number)
    if len(done) <= most:
        return done
    best = sorted(done, key=lambda trial: (losses[trial.number], trial.number))[: most // 2]
    rest = [trial for trial in done if trial not in best]
    return sorted([*best, *rest[-(most - len(best)) :]], key=lambda trial: trial.number)
