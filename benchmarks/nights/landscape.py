"""A world for real searches: where in the unit square the best configuration lies each night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.nights.world import NIGHTS, Final, Key, Shown, shown

SPACE = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "y": {"type": "float", "low": 0.0, "high": 1.0},
}
_BEST, _FALL = 0.88, 0.6
_STEP, _JUMP, _JUMPS = 0.01, 0.25, 0.12
_COMMON, _SEARCH_NOISE = 0.01, 0.008


@dataclass(frozen=True)
class Landscape:
    """The best place walks, and sometimes jumps; what is far from it is worse."""

    seed: int

    def quality(self, params: Mapping[str, Any], night: int) -> float:
        """Give the accuracy on fresh data that a configuration would have in a night."""
        x, y, shift = self._path[night]
        away = (float(params["x"]) - x) ** 2 + (float(params["y"]) - y) ** 2
        return float(np.clip(_BEST + shift - _FALL * away, 0.55, 0.97))

    def seen(self, params: Mapping[str, Any], night: int) -> float:
        """Give what a trial of the search scores, on data that are not the hold-out."""
        draw = np.random.default_rng([self.seed, night, _number(params)])
        return self.quality(params, night) + float(draw.normal(0, _SEARCH_NOISE))

    def shows(self, params: Mapping[str, Any], night: int, final: Final) -> Shown:
        """Give what a night's final trials of a configuration make and score."""
        key = Key(self.seed, night, night)
        return shown(key, _number(params), self.quality(params, night), final)

    @cached_property
    def _path(self) -> list[tuple[float, float, float]]:
        draw = np.random.default_rng([self.seed, NIGHTS])
        place, path = draw.uniform(0.2, 0.8, 2), []
        for _ in range(NIGHTS + 1):
            far = _JUMP if draw.random() < _JUMPS else _STEP
            place = np.clip(place + draw.normal(0, far, 2), 0, 1)
            path.append((float(place[0]), float(place[1]), float(draw.normal(0, _COMMON))))
        return path


def _number(params: Mapping[str, Any]) -> int:
    return crc32(repr(sorted(params.items())).encode())
