"""What the script of a peer trains on: a file of recorded curves, and the count of its steps.

Needs NumPy and the standard library only, as it is imported in each peer's own environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Params = dict[str, Any]
#: So often may a peer ask without taking a step before it is told to end.
IDLE = 500


class Spent(Exception):
    """The budget is used up, or the peer has come to an end."""


class Desk:
    """Answers what a configuration of the table has lost after a step, and counts new steps.

    A step that was trained once is known: who pauses and resumes, or asks for the same
    configuration again, pays for what is new.
    """

    def __init__(self, file: Path, budget: int) -> None:
        with np.load(file, allow_pickle=False) as found:
            self.params: list[Params] = json.loads(str(found["params"]))
            self.space: dict[str, Params] = json.loads(str(found["space"]))
            self._loss = found["loss"].astype(float)
        self.steps = int(self._loss.shape[1])
        self.budget, self.spent, self.asked = budget, 0, 0
        self.finished: list[tuple[int, int]] = []
        self._reached = [0] * len(self.params)
        self._given: set[int] = set()
        self._idle = 0
        self._points = np.array([self._point(one) for one in self.params])

    def train(self, row: int, step: int) -> float:
        """Train a configuration as far as a step, and give its loss there."""
        new = max(0, step - self._reached[row])
        if self.spent + new > self.budget:
            raise Spent
        if new:
            self.spent, self._idle = self.spent + new, 0
            self._reached[row] = step
            if step == self.steps:
                self.finished.append((row, self.spent))
        return float(self._loss[row, step - 1])

    def order(self, seed: int) -> list[int]:
        """Give all rows in random order."""
        return [int(row) for row in np.random.default_rng(seed).permutation(len(self.params))]

    def nearest(self, params: Mapping[str, Any]) -> int:
        """Give the nearest row that was not given yet; when all were, the nearest of all.

        Numbers are compared on their scale, from 0 to 1, and two different choices are 1 apart.
        """
        self._ask()
        distances = ((self._points - self._point(params)) ** 2).sum(axis=1)
        if len(self._given) < len(self.params):
            distances[list(self._given)] = np.inf
        row = int(distances.argmin())
        self._given.add(row)
        return row

    def row_of(self, params: Mapping[str, Any]) -> int:
        """Give the row of a configuration that a peer has chosen from the table."""
        self._ask()
        distances = ((self._points - self._point(params)) ** 2).sum(axis=1)
        return int(distances.argmin())

    def _ask(self) -> None:
        self.asked += 1
        self._idle += 1
        if self._idle > IDLE:
            raise Spent

    def _point(self, params: Mapping[str, Any]) -> list[float]:
        found: list[float] = []
        for name, axis in self.space.items():
            value = params[name]
            if "choices" in axis:
                # A root of a half each, so that two choices are 1 apart.
                found += [0.5**0.5 * (value == one) for one in axis["choices"]]
            elif axis.get("scale") == "log":
                low, high = np.log(axis["low"]), np.log(axis["high"])
                found.append(float((np.log(value) - low) / (high - low)))
            else:
                found.append(float((value - axis["low"]) / (axis["high"] - axis["low"])))
        return found


def serve(package: str, play: Callable[[Desk, int, str], None]) -> None:
    """Play runs as the command line says, and print what each trained to its end, a JSON line each.

    `python SCRIPT.py KIND BUDGET FILE SEED [FILE SEED …]`. `finished` are a row of the table each,
    and the steps of all trials together by then. What the peer prints goes to standard error.
    """
    kind, budget, *runs = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for file, seed in zip(runs[::2], runs[1::2], strict=True):
        desk = Desk(Path(file), int(budget))
        began = time.process_time()
        with contextlib.suppress(Spent):
            play(desk, int(seed), kind)
        said = {
            "version": version(package),
            "finished": desk.finished,
            "steps": desk.spent,
            "asked": desk.asked,
            "cpu_s": round(time.process_time() - began, 2),
        }
        print(json.dumps(said), file=out, flush=True)
