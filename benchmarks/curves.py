"""Learning curves for the simulator: recorded ones, kept in files, and made-up ones.

A file is an .npz: `name`; `space` (JSON, as in a spec); `params` (JSON, a list of configurations);
`loss` float32 [n, steps], lower is better; `seconds` float32 [n], what a step takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import History, Params, Suggestion
from hpo_lib.samplers import Sampler, shuffled
from hpo_lib.validation import Strict

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "curves"


class Problem(Protocol):
    """What a simulated trial trains: a curve, and seconds a step, for every configuration."""

    @property
    def space(self) -> Mapping[str, Any]:
        """Give the section of the spec."""
        ...

    @property
    def steps(self) -> int:
        """Say how many steps a whole training has."""
        ...

    def curve(self, params: Params) -> Sequence[float]:
        """Give the losses after step 1, 2 and so on."""
        ...

    def seconds(self, params: Params) -> float:
        """Say how long a step takes."""
        ...


@dataclass(frozen=True)
class Recorded:
    """Curves from a file; only its configurations can be asked for."""

    name: str
    space: Mapping[str, Any]
    params: Sequence[Params]
    loss: NDArray[np.float32]
    step_s: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Read a file."""
        with np.load(path, allow_pickle=False) as file:
            params = json.loads(str(file["params"]))
            space = json.loads(str(file["space"]))
            return cls(str(file["name"]), space, params, file["loss"], file["seconds"])

    def write(self, path: Path) -> None:
        """Write a file."""
        said = {"params": json.dumps(list(self.params)), "space": json.dumps(dict(self.space))}
        np.savez_compressed(path, name=self.name, loss=self.loss, seconds=self.step_s, **said)

    @property
    def steps(self) -> int:
        """How many steps a whole training has."""
        return int(self.loss.shape[1])

    @cached_property
    def canonical(self) -> list[Params]:
        """The configurations as the engine has them."""
        space = Space.parse(self.space)
        return [space.canonical(one) for one in self.params]

    @cached_property
    def _row(self) -> Mapping[str, int]:
        return {key(one): row for row, one in enumerate(self.canonical)}

    def curve(self, params: Params) -> Sequence[float]:
        """Give what was recorded."""
        found: list[float] = self.loss[self._row[key(params)]].astype(float).tolist()
        return found

    def seconds(self, params: Params) -> float:
        """Give what was recorded."""
        return float(self.step_s[self._row[key(params)]])


@dataclass(frozen=True)
class MadeUp:
    """Curves that fall like a power to their end; `misleading` ones fall the slower, the better."""

    steps: int = 27
    misleading: bool = False
    name: str = "made up"

    @property
    def space(self) -> Mapping[str, Any]:
        """Two parameters."""
        axis = {"type": "float", "low": 0.0, "high": 1.0}
        return {"x": axis, "y": axis}

    def curve(self, params: Params) -> Sequence[float]:
        """Give the same curve for the same parameters."""
        x, y = float(params["x"]), float(params["y"])
        end = (x - 0.3) ** 2 + (y - 0.6) ** 2
        speed = 0.3 + 2.0 * end if self.misleading else 0.8
        noise = Random(f"{x}:{y}")
        return [
            end + (step + 1) ** -speed + 0.01 * noise.gauss(0, 1) / math.sqrt(step + 1)
            for step in range(self.steps)
        ]

    def seconds(self, params: Params) -> float:
        """Differ from trial to trial, up to threefold."""
        return 0.5 + float(params["y"])

    def recorded(self, count: int, seed: int = 0) -> Recorded:
        """Record some configurations at random."""
        rng = np.random.default_rng([seed, 1])
        params = [{"x": round(x, 6), "y": round(y, 6)} for x, y in rng.random((count, 2)).tolist()]
        loss = np.array([self.curve(one) for one in params], dtype=np.float32)
        seconds = np.array([self.seconds(one) for one in params], dtype=np.float32)
        name = f"{self.name}{', misleading' if self.misleading else ''}"
        return Recorded(name, self.space, params, loss, seconds)


@lru_cache(maxsize=64)
def read(path: str) -> Recorded:
    """Read a file once."""
    return Recorded.read(Path(path))


class NearestSettings(Strict):
    """`file`: whose configurations are tried; `of`: the sampler that is asked, by name."""

    file: str
    of: str = "bayesian"


class NearestSampler(Sampler):
    """Tries, of a file's configurations, the nearest to what a sampler would try.

    Near is as in `Cube.features`: numbers on their scale from 0 to 1, different choices 1 apart.
    The sampler is told the file's configurations, not its own, so it learns nothing wrong.
    """

    Settings = NearestSettings

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give configurations that were not tried yet."""
        tried = {key(trial.params) for trial in history.trials}
        recorded = read(NearestSettings.model_validate(self.settings).file).canonical
        free = [one for one in recorded if key(one) not in tried]
        found: list[int] = []
        features = _features(self.space, free)
        for drawn in self._asked.suggest(history, min(count, len(free))):
            apart = ((features - _features(self.space, [drawn.params])) ** 2).sum(axis=1)
            apart[found] = np.inf
            found.append(int(apart.argmin()))
        return [Suggestion(free[row]) for row in found]

    @property
    def reads(self) -> str:  # type: ignore[override]
        """What the sampler reads."""
        return self._asked.reads

    @property
    def blind(self) -> int | None:
        """As long as the sampler."""
        return self._asked.blind

    @cached_property
    def _asked(self) -> Sampler:
        from hpo_lib.search.suggesting import make_sampler

        name = NearestSettings.model_validate(self.settings).of
        return make_sampler(name, self.space, self.goal, seed=self.seed, settings={})


def _features(space: Space, params: Sequence[Params]) -> NDArray[np.float64]:
    from hpo_lib.samplers.surrogate.cube import Cube

    cube = Cube(space)
    found: NDArray[np.float64] = cube.features(cube.places(params))
    return found


@lru_cache(maxsize=64)
def _order(count: int, seed: int) -> tuple[int, ...]:
    return tuple(shuffled(count, seed))


class RecordedSettings(Strict):
    """`file`: whose configurations are tried."""

    file: str


class RecordedSampler(Sampler):
    """Tries the configurations of a file in random order, which the seed decides."""

    Settings = RecordedSettings
    reads = "number"

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Give the next ones."""
        file = RecordedSettings.model_validate(self.settings).file
        params, done = read(file).canonical, len(history.trials)
        rows = _order(len(params), self.seed)[done : done + count]
        return [Suggestion(params[row]) for row in rows]

    @property
    def blind(self) -> int | None:
        """Learn nothing."""
        return None
