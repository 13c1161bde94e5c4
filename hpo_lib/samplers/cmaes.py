"""CMA-ES: a normal distribution that moves, stretches and turns towards the better trials.

Hansen 2016, "The CMA Evolution Strategy: A Tutorial" (arXiv:1604.00772). With choices or steps in
the space, CatCMA with margin: Hamano et al. 2025 (arXiv:2504.07884). Both by the package `cmaes`.

What CMA-ES has learned is in its state, not in its last points, so the state is recomputed from
the history at every call. Finished trials by number make blocks of `popsize`; each block is told
together. Blocks and not generations: trials that were drawn from an older state than the one that
they are told to (waves that do not divide the population) still teach, where Optuna's sampler
leaves them unused. As draws are seeded by the trial's number, the very point that was drawn for a
trial, with what rounding to steps has lost, is found again among the states before it.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hpo_lib.core.objective import Goal
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import History, Origin, Params, Suggestion, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.samplers import Sampler
from hpo_lib.samplers.adapters.library import (
    Coordinate,
    axes,
    configuration,
    draw_seed,
    installed,
    one_objective,
    quiet,
    ranks,
    sole,
)
from hpo_lib.validation import Scalar, Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_TRIES = 10
#: The states that are looked through for the one that a trial was drawn from.
_STATES = 20
_DRAWS = 30


class CmaesSettings(Strict):
    """`popsize` trials are told together (default: 4 + 3 ln of the number of parameters).

    It begins around `x0`, a configuration (default: the middle of the space), with a standard
    deviation of `sigma0`, as a share of each range. The two variants, a diagonal covariance (Ros
    and Hansen 2008) and adaptive learning rates for noise (Nomura et al. 2023), take numbers only.
    """

    popsize: int | None = Field(default=None, ge=4, le=10_000)
    sigma0: float = Field(default=1 / 6, gt=0, le=1)
    x0: dict[str, Scalar] | None = None
    use_separable_cma: bool = False
    lr_adapt: bool = False


class CmaesSampler(Sampler):
    """Draws each trial from the newest state; infeasible trials rank below the others, failed last.

    Trials under way are not told: each draw differs anyway. A trial that no state has drawn (an
    initial point, say) is told as the nearest point that the state could have drawn, as in Hansen
    2011, "Injecting external solutions into CMA-ES" (arXiv:1110.4181).
    """

    Settings = CmaesSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take CmaesSettings; SpecError for several objectives, or choices with a variant."""
        super().__init__(space, goal, seed, settings)
        installed("cmaes", "cmaes", extra="optuna")
        one_objective("cmaes", goal)
        self._options = CmaesSettings.model_validate(settings)
        _check_variant(space, self._options)
        self._start = _start(space, self._options)
        self._form = _Form(axes(space), self._options)

    @property
    def blind(self) -> int:
        """The population: what is drawn before anything is told."""
        return self._options.popsize or 4 + math.floor(3 * math.log(max(len(self._form), 1)))

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Draw from the state that the history leads to."""
        if not len(self._form):
            return sole(self.space, count)
        with quiet():
            state = self._states(history)[-1]
            used = {key(trial.params) for trial in history.trials}
            first = len(history.trials) + 1
            return [
                Suggestion(self._drawn(state, number, used)[1])
                for number in range(first, first + count)
            ]

    def _states(self, history: History) -> list[Any]:
        """Replay the history, block by block; the last state is the one to draw from."""
        states = [self._form.first(self._start, self.blind)]
        block: list[tuple[Trial, Any]] = []
        used: set[str] = set()
        for trial in sorted(history.trials, key=lambda trial: trial.number):
            if trial.state is not TrialState.RUNNING:
                block.append((trial, self._point(trial, states, used)))
            used.add(key(trial.params))
            if len(block) == self.blind:
                states.append(self._told(states[-1], block))
                block = []
        return states

    def _told(self, state: Any, block: list[tuple[Trial, Any]]) -> Any:
        """Give the next state; the same one if the block tells nothing apart."""
        places = ranks([trial for trial, _ in block], self.goal)
        if len(set(places.values())) == 1:
            return state
        told = copy.deepcopy(state)
        told.tell([(point, places[trial.number]) for trial, point in block])
        return told

    def _point(self, trial: Trial, states: list[Any], used: set[str]) -> Any:
        """Find the point that was drawn for a trial, or the nearest that could have been."""
        if trial.origin is Origin.SAMPLER:
            for state in reversed(states[-_STATES:]):
                point, params = self._drawn(state, trial.number, set(used))
                if params == trial.params:
                    return point
        seeds = (draw_seed(self.seed, trial.number, draw) for draw in range(1, _DRAWS + 1))
        return self._form.injected(trial.params, [_asked(states[-1], seed) for seed in seeds])

    def _drawn(self, state: Any, number: int, used: set[str]) -> tuple[Any, Params]:
        """Draw the point of a trial, if possible one whose configuration is not used; use it."""
        for attempt in range(1, _TRIES + 1):
            point = _asked(state, draw_seed(self.seed, number, attempt))
            params = self._meant(point)
            if key(params) not in used:
                break
        used.add(key(params))
        return point, params

    def _meant(self, point: Any) -> Params:
        """Give the configuration that a point stands for."""
        shares, parameters = self._form.shares(point), self.space.parameters
        return configuration(self.space, lambda name: parameters[name].from_unit(shares[name]))


class _Form:
    """Which parameters are numbers, steps and choices of a state; only its points know of those.

    Numbers and steps are told as shares of [0, 1], choices as one-hot rows.
    """

    def __init__(self, found: list[Coordinate], options: CmaesSettings) -> None:
        self._options = options
        self._plain = options.use_separable_cma or options.lr_adapt
        self._choices = [axis for axis in found if self._mixed(axis) and _is_choice(axis)]
        self._steps = [axis for axis in found if self._mixed(axis) and not _is_choice(axis)]
        self._numbers = [axis for axis in found if not self._mixed(axis)]

    def __len__(self) -> int:
        return len(self._numbers) + len(self._steps) + len(self._choices)

    def _mixed(self, axis: Coordinate) -> bool:
        return axis.short and not self._plain

    def first(self, start: Params, population: int) -> Any:
        """Make the state before any trial."""
        import cmaes
        import numpy as np

        sigma, mean = self._options.sigma0, self._gaussian(start)
        numbers = np.array([[0.0, 1.0]] * len(self._numbers))
        if self._steps or self._choices:
            return cmaes.CatCMAwM(
                x_space=numbers if self._numbers else None,
                z_space=[_listed(axis) for axis in self._steps] or None,
                c_space=[axis.parameter.size for axis in self._choices] or None,
                population_size=population,
                mean=mean,
                sigma=sigma,
                cov=np.eye(len(mean)),
                seed=0,
            )
        if self._options.use_separable_cma and len(mean) > 1:
            return cmaes.SepCMA(mean, sigma, numbers, population_size=population, seed=0)
        adapt = self._options.lr_adapt
        return cmaes.CMA(mean, sigma, numbers, population_size=population, lr_adapt=adapt, seed=0)

    def shares(self, point: Any) -> dict[str, float]:
        """Read a point: the share of [0, 1] of every parameter."""
        if not self._steps and not self._choices:
            return dict(zip(_names(self._numbers), map(float, point), strict=True))
        shares: dict[str, float] = {}
        for group, part in ((self._numbers, point.x), (self._steps, point.z)):
            shares |= dict(zip(_names(group), map(float, part if group else ()), strict=True))
        rows = point.c if self._choices else ()
        for axis, row in zip(self._choices, rows, strict=True):
            shares[axis.name] = axis.parameter.to_unit(axis.parameter.at(int(row.argmax())))
        return shares

    def injected(self, params: Params, drawn: list[Any]) -> Any:
        """Make the point of a configuration, moved into the box that the points drawn span."""
        import cmaes
        import numpy as np

        shares = [self.shares(point) for point in drawn]
        names = _names([*self._numbers, *self._steps])
        seen = np.array([[each[name] for name in names] for each in shares])
        vector = np.clip(self._gaussian(params), seen.min(axis=0), seen.max(axis=0))
        if not self._steps and not self._choices:
            return vector
        split = len(self._numbers)
        chosen = np.zeros((len(self._choices), max(map(_size, self._choices), default=0)), bool)
        for row, axis in zip(chosen, self._choices, strict=True):
            row[axis.parameter.index(params[axis.name]) if axis.name in params else 0] = True
        return cmaes.CatCMAwM.Solution(vector[:split], vector[split:], chosen, vector)

    def _gaussian(self, params: Params) -> Array:
        """Give the shares of numbers and steps; what is absent is in the middle."""
        import numpy as np

        group = [*self._numbers, *self._steps]
        told = [a.parameter.to_unit(params[a.name]) if a.name in params else 0.5 for a in group]
        return np.array(told, dtype=float)


def _asked(state: Any, seed: int) -> Any:
    state.reseed_rng(seed)
    return state.ask()


def _is_choice(axis: Coordinate) -> bool:
    """Whether it has no order, or none that matters."""
    return axis.size == 2 or bool(axis.parameter.unordered)


def _listed(axis: Coordinate) -> list[float]:
    """List the shares of all values."""
    parameter = axis.parameter
    return [parameter.to_unit(parameter.at(index)) for index in range(parameter.size)]


def _names(group: list[Coordinate]) -> list[str]:
    return [axis.name for axis in group]


def _size(axis: Coordinate) -> int:
    return int(axis.parameter.size)


def _start(space: Space, options: CmaesSettings) -> Params:
    try:
        return space.canonical(options.x0) if options.x0 else {}
    except SpecError as error:
        raise SpecError(f"sampler.x0: {error}") from None


def _check_variant(space: Space, options: CmaesSettings) -> None:
    """Refuse two variants at once, and a variant with choices."""
    chosen = [name for name in ("use_separable_cma", "lr_adapt") if getattr(options, name)]
    if len(chosen) > 1:
        raise SpecError("sampler: use_separable_cma and lr_adapt exclude each other")
    choices = [name for name, p in space.parameters.items() if p.unordered]
    if chosen and choices:
        raise SpecError(f"sampler.{chosen[0]}: takes numbers only, got {', '.join(choices)}")
