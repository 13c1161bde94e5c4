"""Optuna's samplers behind ours: a study is made of the history, asked, and thrown away.

A sampler of Optuna sees the study in one of three ways. By branch: each trial has its active
parameters only, as with Optuna's own define-by-run. Flat: every trial has all of them, for samplers
that would fall back to random draws for conditional ones; what is inactive has its middle value.
Replayed: flat, and the sampler is asked anew for every trial of the past, in order, before it is
told what became of it; so the state that it keeps on trials (generations, covariances, places in a
sequence) is a function of the history too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space
from hpo_lib.core.trial import History, Suggestion, Trial, TrialState, Value
from hpo_lib.errors import SpecError
from hpo_lib.samplers import Sampler, random_params
from hpo_lib.samplers.adapters.library import (
    Coordinate,
    Lesson,
    Scale,
    axes,
    configuration,
    distinct,
    draw_seed,
    installed,
    lessons,
    quiet,
    silent_optuna,
    without_constraints,
)
from hpo_lib.samplers.adapters.signature import objects, settings_of
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    import optuna

    Study = optuna.Study
    Distribution = optuna.distributions.BaseDistribution


_MOST_TRIED = 60


class View(StrEnum):
    """How a sampler of Optuna sees the history."""

    BY_BRANCH = "by_branch"
    FLAT = "flat"
    REPLAYED = "replayed"


class _Signature:
    """The settings of a sampler, read from the signature of the Optuna class behind it."""

    def __get__(self, _: Any, owner: type[OptunaSampler]) -> type[Strict]:
        installed(owner.name, *owner.packages, extra=owner.extra)
        return settings_of(getattr(samplers(), owner.behind), samplers().nsgaii)


class OptunaSampler(Sampler):
    """A sampler of Optuna; subclasses say which one, and how it sees the history.

    Running trials are told as running. A trial that failed is told as complete with the worst
    losses and excesses; before any trial is complete, failures teach nothing. Constraints reach
    the samplers that know them; for others, what exceeds one has failed.
    """

    name: ClassVar[str]
    behind: ClassVar[str]
    view: View = View.BY_BRANCH
    packages: ClassVar[tuple[str, ...]] = ("optuna",)
    extra: ClassVar[str] = "optuna"
    #: Where we differ from Optuna's defaults.
    defaults: ClassVar[Mapping[str, Any]] = {}
    Settings = cast("type[Strict]", _Signature())

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take what Optuna's class takes and a spec can hold; SpecError if it refuses a value."""
        super().__init__(space, goal, seed, settings)
        installed(self.name, *self.packages, extra=self.extra)
        self._axes = {axis.name: axis for axis in axes(space)}
        with silent_optuna():
            self._made(0)

    @property
    def blind(self) -> int | None:
        """The trials that Optuna draws at random before its sampler learns."""
        for key in ("n_startup_trials", "population_size"):
            if hasattr(self.settings, key):
                return int(getattr(self.settings, key))
        return None

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Ask the study that the history makes for so many trials."""
        with silent_optuna():
            study = self._study(history)
            return distinct(lambda *_: self._asked(study), history, count)

    def _try(self) -> None:
        """Find out whether the sampler can do its work here, before a run depends on it.

        It is asked for every parameter, active or not, and again after as many trials as it takes
        to learn from; whatever it raises comes through.
        """
        with silent_optuna():
            self._study(History()).ask(self._distributions())
        self.suggest(History(tuple(self._rehearsed(min(self.blind or 0, _MOST_TRIED) + 1))), 1)

    def _rehearsed(self, count: int) -> Iterator[Trial]:
        """Make up trials."""
        for number in range(1, count + 1):
            yield Trial(
                number,
                random_params(self.space, self.seed, number),
                TrialState.COMPLETE,
                float(number),
                metrics=dict.fromkeys(self.goal.metrics, float(number)),
            )

    def _kind(self) -> Any:
        """Give the class of Optuna."""
        return getattr(samplers(), self.behind)

    def _options(self) -> Mapping[str, Any]:
        """Give what the spec says, and our defaults for the rest."""
        return {**self.defaults, **self.settings.model_dump(exclude_unset=True)}

    def _made(self, seed: int) -> optuna.samplers.BaseSampler:
        """Build the sampler of Optuna; SpecError gives its reason to refuse a value."""
        kind = self._kind()
        known = inspect.signature(kind).parameters
        options = objects(kind, self._options(), samplers().nsgaii)
        options |= {name: False for name in known if name.startswith("warn_")}
        options |= {"seed": seed} if "seed" in known else {}
        try:
            made: optuna.samplers.BaseSampler = kind(**options)
        except (TypeError, ValueError) as error:
            raise SpecError(f"sampler: {_first_line(error)}") from None
        return made

    def _study(self, history: History) -> Study:
        import optuna

        replayed = self.view is View.REPLAYED
        # What is replayed goes through its random numbers in step with the trials.
        moment = () if replayed else (len(history.trials) + 1,)
        study = optuna.create_study(
            directions=["minimize"] * len(self.goal.objectives),
            sampler=self._made(draw_seed(self.seed, *moment)),
        )
        taught = self._taught(history)
        tell = self._replay if replayed else self._add
        for trial in sorted(history.trials, key=lambda trial: trial.number):
            tell(study, trial, taught.get(trial.number))
        return study

    def _taught(self, history: History) -> dict[int, Lesson]:
        """Fold the constraints into the losses for a sampler that does not know any."""
        taught = lessons(history, self.goal)
        if "constraints_func" in inspect.signature(self._kind()).parameters:
            return taught
        return without_constraints(taught)

    def _add(self, study: Study, trial: Trial, lesson: Lesson | None) -> None:
        """Put a trial into the study as if Optuna had run it."""
        import optuna

        told = {
            name: _told(axis, trial.params.get(name))
            for name, axis in self._axes.items()
            if name in trial.params or self.view is View.FLAT
        }
        study.add_trial(
            optuna.trial.create_trial(
                state=_state(trial, lesson),
                values=list(lesson.losses) if lesson else None,
                params=told,
                distributions={name: _distribution(self._axes[name]) for name in told},
                constraints=_constraints(lesson),
            )
        )

    def _replay(self, study: Study, trial: Trial, lesson: Lesson | None) -> None:
        """Ask for the trial, put in what it really tried, and tell what became of it."""
        distributions = self._distributions()
        asked = study.ask(distributions)
        for name in self._axes.keys() & trial.params.keys():
            distribution = distributions[name]
            told = distribution.to_internal_repr(_told(self._axes[name], trial.params[name]))
            asked.storage.set_trial_param(asked._trial_id, name, told, distribution)
        if trial.state is TrialState.RUNNING:
            return
        for name, excess in _constraints(lesson).items():
            asked.set_constraint(name, excess)
        study.tell(asked, list(lesson.losses) if lesson else None, _state(trial, lesson))

    def _asked(self, study: Study) -> dict[str, Value]:
        if self.view is View.BY_BRANCH:
            asked = study.ask()
            return configuration(self.space, lambda name: _suggested(asked, self._axes[name]))
        told = study.ask(self._distributions()).params
        return configuration(self.space, lambda name: _meant(self._axes[name], told[name]))

    def _distributions(self) -> dict[str, Distribution]:
        return {name: _distribution(axis) for name, axis in self._axes.items()}


def samplers() -> Any:
    """Give the module of Optuna's samplers."""
    with quiet():
        import optuna

    return optuna.samplers


def _distribution(axis: Coordinate) -> Distribution:
    """Give the distribution that is most like the parameter: by index, or a share of [0, 1]."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if _is_whole(axis):
        return IntDistribution(axis.parameter.low, axis.parameter.high, log=True)
    if axis.scale is Scale.SHARE:
        return FloatDistribution(0.0, 1.0)
    if axis.scale is Scale.CHOICES:
        return CategoricalDistribution(range(axis.parameter.size))
    return IntDistribution(0, axis.parameter.size - 1)


def _is_whole(axis: Coordinate) -> bool:
    """Whether Optuna is told the number itself; long ranges it would count one by one."""
    return axis.whole and axis.short


def _told(axis: Coordinate, value: Any) -> int | float:
    """Give what stands for a value; for none, the middle."""
    if value is None:
        value = axis.meant(axis.middle)
    return int(value) if _is_whole(axis) else axis.told(value)


def _meant(axis: Coordinate, told: float) -> Value:
    return int(told) if _is_whole(axis) else axis.meant(told)


def _suggested(asked: optuna.Trial, axis: Coordinate) -> Value:
    """Let a trial choose the value of one parameter, as in a function of Optuna."""
    distribution: Any = _distribution(axis)
    if axis.scale is Scale.CHOICES:
        return axis.meant(asked.suggest_categorical(axis.name, distribution.choices))
    if axis.scale is Scale.SHARE and not _is_whole(axis):
        return axis.meant(asked.suggest_float(axis.name, 0.0, 1.0))
    low, high = distribution.low, distribution.high
    return _meant(axis, asked.suggest_int(axis.name, low, high, log=distribution.log))


def _state(trial: Trial, lesson: Lesson | None) -> optuna.trial.TrialState:
    import optuna

    if trial.state is TrialState.RUNNING:
        return optuna.trial.TrialState.RUNNING
    return optuna.trial.TrialState.COMPLETE if lesson else optuna.trial.TrialState.FAIL


def _constraints(lesson: Lesson | None) -> dict[str, float]:
    return {str(index): excess for index, excess in enumerate(lesson.excesses if lesson else ())}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
