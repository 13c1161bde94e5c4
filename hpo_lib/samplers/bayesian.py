"""Bayesian optimisation: a Gaussian process (scikit-optimize) over the mixed, conditional space.

Works on "places": rows of the unit cube, snapped to what the space can tell apart, inactive
parameters in the middle. "Features" are places with small categoricals as one column per choice.

    n trials told, c candidates, d parameters, f features
    places      (n | c, d) in [0, 1]
    features    (n | c, f) in [0, 1]
    losses      (n,) lower is better, mean 0, standard deviation 1
"""

from __future__ import annotations

import copy
import math
import warnings
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hpo_lib.goal import Goal
from hpo_lib.samplers import Sampler, sobol_params
from hpo_lib.space import Space, key
from hpo_lib.trial import Direction, History, Params, Suggestion, Trial, TrialState
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_MAX_TOLD = 150
_NOISE = 1e-3
_MAX_ONE_HOT = 32
_MAX_LENGTH_SCALES = 40
_CANDIDATES = 2_000
_ROUNDS = (0.2, 0.08, 0.03, 0.01, 0.003)
_PARENTS, _CHILDREN = 8, 24


class BayesianSettings(Strict):
    """`initial` Sobol points come before the model (default: twice the parameters, 5 to 10).

    `xi` (EI, PI) is the least improvement worth having, in standard deviations of the objective;
    `kappa` (LCB) how much uncertainty attracts; gp_hedge draws one of the three per suggestion.
    """

    initial: int | None = Field(default=None, ge=1, le=1_000)
    acquisition: Literal["EI", "LCB", "PI", "gp_hedge"] = "EI"
    xi: float = Field(default=0.01, ge=0)
    kappa: float = Field(default=1.96, ge=0)


class BayesianSampler(Sampler):
    """Fits a Gaussian process to the history and takes what its acquisition function likes best.

    Failed trials count as the worst value seen. Trials under way, and those of the same batch,
    count as the best one seen (the constant liar of Ginsbourger et al. 2010, "Kriging is
    well-suited to parallelize optimization"), which drives the next suggestion away from them.
    """

    Settings = BayesianSettings

    def __init__(self, space: Space, goal: Goal, seed: int, settings: Strict) -> None:
        """Take BayesianSettings."""
        super().__init__(space, goal, seed, settings)
        self._options = BayesianSettings.model_validate(settings)

    @property
    def blind(self) -> int:
        """The number of trials before the model."""
        return self._options.initial or min(max(2 * len(self.space), 5), 10)

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the Sobol points that are still due, then the model's choices."""
        done = len(history.trials)
        due = count if not _known(history) else min(max(self.blind - done, 0), count)
        points: list[Params] = []
        if due:
            points += sobol_params(self.space, self.seed, done + 1, due)
        if due < count:
            points += self._modelled(history, points, count - due)
        return [Suggestion(params) for params in points]

    def _modelled(self, history: History, points: list[Params], count: int) -> list[Params]:
        """Let the model choose, on one thread: faster for so small matrices, and repeatable."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(limits=1):
            return self._chosen(history, points, count)

    def _chosen(self, history: History, points: list[Params], count: int) -> list[Params]:
        import numpy as np

        rng = np.random.default_rng([self.seed, len(history.trials) + len(points) + 1])
        used = {key(trial.params) for trial in history.trials} | {key(p) for p in points}
        cube = _Cube(self.space)
        losses, told = _losses(history, self.goal.direction)
        pending = [trial.params for trial in history.of(TrialState.RUNNING)] + points
        places = cube.places([trial.params for trial in told] + pending)
        model = _Model(cube, places[: len(told)], losses, seed=int(rng.integers(2**31)))
        model.lie(places[len(told) :])
        chosen: list[Params] = []
        while len(chosen) < count:
            params = self._choose(model, cube, used, rng)
            if params is None:
                break
            chosen.append(params)
            used.add(key(params))
            model.lie(cube.places([params]))
        return chosen + self._rest(history, points + chosen, count - len(chosen))

    def _choose(
        self, model: _Model, cube: _Cube, used: set[str], rng: np.random.Generator
    ) -> Params | None:
        """Maximise the acquisition over the candidates, then around the best of them."""
        import numpy as np

        wanted = self._acquisition(model, rng)
        places = cube.candidates(rng, model.best(5))
        values = wanted(places)
        for width in () if cube.every is not None else _ROUNDS:
            parents = places[np.argsort(values, kind="stable")[:_PARENTS]]
            grown = cube.snap(cube.around(np.repeat(parents, _CHILDREN, axis=0), width, rng))
            places, values = np.vstack([places, grown]), np.append(values, wanted(grown))
        for row in np.argsort(values, kind="stable"):
            params = self.space.from_unit(places[row].tolist())
            if key(params) not in used:
                return params
        return None

    def _acquisition(self, model: _Model, rng: np.random.Generator) -> Any:
        """Give the function from places to a score, lower is better."""
        from skopt import acquisition

        name, options = self._options.acquisition, self._options
        if name == "gp_hedge":
            name = ("EI", "LCB", "PI")[int(rng.integers(3))]
        if name == "LCB":
            return lambda places: acquisition.gaussian_lcb(
                model.features(places), model.process, kappa=options.kappa
            )
        better = acquisition.gaussian_ei if name == "EI" else acquisition.gaussian_pi
        return lambda places: (
            -better(model.features(places), model.process, y_opt=model.lowest, xi=options.xi)
        )

    def _rest(self, history: History, taken: list[Params], count: int) -> list[Params]:
        """Leave to the engine what no candidate was left for: it finds the last unused points."""
        first = len(history.trials) + len(taken) + 1
        return list(sobol_params(self.space, self.seed, first, count)) if count else []


class _Cube:
    """The unit cube of a space as arrays: what `Space.from_unit` does, for many rows at once."""

    def __init__(self, space: Space) -> None:
        import numpy as np

        self._space = space
        self._column = {name: index for index, name in enumerate(space.parameters)}
        self._units: dict[int, Array] = {}
        for name, parameter in space.parameters.items():
            if parameter.size is not None and parameter.size <= 10_000:
                units = [parameter.to_unit(parameter.at(i)) for i in range(parameter.size)]
                self._units[self._column[name]] = np.array(units)

    @cached_property
    def every(self) -> Array | None:
        """All places of a small space; None for one that has to be sampled."""
        size = self._space.size
        if size is None or size > _CANDIDATES:
            return None
        return self.places([self._space.grid[index] for index in range(size)])

    def candidates(self, rng: np.random.Generator, best: Array) -> Array:
        """Give every place of a small space, or random ones and the best known."""
        import numpy as np

        if self.every is not None:
            return self.every
        return self.snap(np.vstack([rng.random((_CANDIDATES, len(self._space))), best]))

    def places(self, configurations: list[Params]) -> Array:
        """Put configurations into the cube."""
        import numpy as np

        rows = [self._space.to_unit(params) for params in configurations]
        return np.array(rows, dtype=float).reshape(len(rows), len(self._space))

    def snap(self, rows: Array) -> Array:
        """Move every row to the place of the configuration that it stands for."""
        import numpy as np

        places = np.clip(rows, 0.0, 1.0)
        for column, units in self._units.items():
            places[:, column] = units[_nearest(units, places[:, column])]
        active: dict[str, Any] = {}
        for name, parameter in self._space.parameters.items():
            active[name] = np.ones(len(places), dtype=bool)
            for parent, values in (parameter.when or {}).items():
                active[name] &= active[parent] & self._holds(places, parent, values)
            places[~active[name], self._column[name]] = 0.5
        return places

    def _holds(self, places: Array, parent: str, values: list[Any]) -> Any:
        import numpy as np

        parameter, column = self._space.parameters[parent], self._column[parent]
        units = [parameter.to_unit(parameter.canonical(value)) for value in values]
        return np.isclose(places[:, [column]], units, rtol=0, atol=1e-12).any(axis=1)

    def around(self, places: Array, width: float, rng: np.random.Generator) -> Array:
        """Move each row: a normal step, or now and then a fresh draw, in some of its columns."""
        import numpy as np

        n_columns = places.shape[1]
        moved = rng.random(places.shape) < max(0.5, 1 / n_columns)
        moved[np.arange(len(places)), rng.integers(n_columns, size=len(places))] = True
        fresh = rng.random(places.shape) < np.where(self._unordered(), 0.5, 0.05)
        steps = places + rng.normal(0.0, width, places.shape)
        return np.where(moved, np.where(fresh, rng.random(places.shape), steps), places)

    def _unordered(self) -> list[bool]:
        return [parameter.type == "categorical" for parameter in self._space.parameters.values()]

    def features(self, places: Array) -> Array:
        """Give each choice of a small categorical its own column; inactive ones are in between."""
        import numpy as np

        columns = []
        for index, (unordered, parameter) in enumerate(
            zip(self._unordered(), self._space.parameters.values(), strict=True)
        ):
            column = places[:, [index]]
            if not unordered or not 2 < parameter.size <= _MAX_ONE_HOT:
                columns.append(column)
                continue
            chosen = np.abs(column - self._units[index]) < 1e-9
            columns.append(np.where(chosen.any(axis=1, keepdims=True), chosen, 1 / parameter.size))
        return np.hstack(columns)


class _Model:
    """A Gaussian process whose kernel is fitted once, to what is known, and then kept for lies."""

    def __init__(self, cube: _Cube, places: Array, losses: Array, *, seed: int) -> None:
        self._cube, self._places, self._losses = cube, places, losses
        self.lowest = float(losses.min())
        features = self.features(places)
        self.process = _fitted(_kernel(features.shape[1]), features, losses, seed)
        self._kernel = _fitted_kernel(self.process)

    def lie(self, places: Array) -> None:
        """Tell that these places have the best loss seen."""
        import numpy as np

        if not len(places):
            return
        lies = np.full(len(places), self.lowest)
        self._places = np.vstack([self._places, places])
        self._losses = np.append(self._losses, lies)
        self.process = _fitted(self._kernel, self.features(self._places), self._losses)

    def features(self, places: Array) -> Array:
        """Give what the process is fitted to."""
        return self._cube.features(places)

    def best(self, count: int) -> Array:
        """Give the places of the lowest losses."""
        import numpy as np

        return self._places[np.argsort(self._losses, kind="stable")[:count]]


def _kernel(n_features: int) -> Any:
    """Make the kernel; lengths grow with the cube's diagonal (Hvarfner et al. 2024, 2402.02229)."""
    import numpy as np
    from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    length = 0.5 * math.sqrt(n_features)
    shape = np.full(n_features, length) if n_features <= _MAX_LENGTH_SCALES else length
    smooth = Matern(shape, (0.02, 100.0), nu=2.5)
    return ConstantKernel(1.0, (0.01, 100.0)) * smooth + WhiteKernel(_NOISE, (1e-6, 1.0))


def _fitted(kernel: Any, features: Array, losses: Array, seed: int | None = None) -> Any:
    """Fit a process; without a seed the kernel stays as it is."""
    from skopt.learning import GaussianProcessRegressor

    process = GaussianProcessRegressor(
        kernel=kernel,
        noise="gaussian",
        normalize_y=True,
        n_restarts_optimizer=0 if seed is None else 1,
        random_state=seed,
        optimizer=None if seed is None else partial(_minimise, middle=kernel.theta.copy()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return process.fit(features, losses)


def _fitted_kernel(process: Any) -> Any:
    """Give the kernel that was found, with the noise that skopt takes out of it for predicting."""
    return copy.deepcopy(process.kernel_).set_params(k2__noise_level=process.noise_)


def _minimise(objective: Any, start: Array, bounds: Array, *, middle: Array) -> tuple[Array, float]:
    """Fit the logarithms of amplitude, lengths and noise in bounded time.

    Each has a normal prior around `middle`, where the kernel starts: without it a few trials are
    explained perfectly by parameters that do not matter.
    """
    import numpy as np
    from scipy.optimize import minimize

    width = np.array([1.0] * (len(start) - 1) + [2.0])

    def penalised(theta: Array) -> tuple[float, Array]:
        value, slope = objective(theta)
        off = (theta - middle) / width
        return value + 0.5 * float(off @ off), slope + off / width

    found = minimize(
        penalised, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30}
    )
    return found.x, float(found.fun)


def _nearest(units: Array, values: Array) -> Any:
    """Give for each value the index of the nearest of the ascending `units`."""
    import numpy as np

    right = np.clip(np.searchsorted(units, values), 1, max(len(units) - 1, 1))
    if len(units) == 1:
        return np.zeros(len(values), dtype=int)
    return right - (values - units[right - 1] < units[right] - values)


def _known(history: History) -> bool:
    """Say whether two different values are known: the least that a model needs."""
    return len({trial.value for trial in history.trials if trial.value is not None}) > 1


def _losses(history: History, direction: Direction) -> tuple[Array, list[Trial]]:
    """Give the trials worth telling and their losses, standardised and without wild outliers."""
    import numpy as np

    values = {t.number: direction.loss(t.value) for t in history.trials if t.value is not None}
    worst = max(values.values())
    done = [trial for trial in history.trials if trial.state is not TrialState.RUNNING]
    done = _worth_telling(done, {t.number: values.get(t.number, worst) for t in done})
    losses = np.array([values.get(trial.number, worst) for trial in done])
    losses /= np.abs(losses).max() or 1.0  # So that nothing below overflows.
    middle, low = np.median(losses), losses.min()
    if middle > low:
        losses = np.minimum(losses, middle + 5 * (middle - low))
    return (losses - losses.mean()) / (losses.std() or 1.0), done


def _worth_telling(done: list[Trial], losses: dict[int, float]) -> list[Trial]:
    """Keep the best and the latest when there are too many: a fit takes time cubic in them."""
    if len(done) <= _MAX_TOLD:
        return done
    best = sorted(done, key=lambda trial: (losses[trial.number], trial.number))[: _MAX_TOLD // 2]
    kept = {trial.number for trial in best}
    rest = [trial for trial in done if trial.number not in kept]
    kept |= {trial.number for trial in rest[-(_MAX_TOLD - len(kept)) :]}
    return [trial for trial in done if trial.number in kept]
