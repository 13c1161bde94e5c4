"""What Keras prints: `verbose=2`, a line an epoch, and the progress bar of `verbose=1`.

Keras 2 and 3. A line after the one that ends an epoch is that of `evaluate`: it has no step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hpo_lib.collectors.formats import Number, Reading, headline
from hpo_lib.collectors.numbers import number_in

_BAR = re.compile(r"(?P<done>[0-9]+)/(?P<all>[0-9]+|Unknown|\?)\s(?P<rest>.*)")
#: What tells a line of Keras from `3/10 - loss: 0.5` of somebody's own.
_KERAS = re.compile(r"[0-9]+[mu]?s/(?:step|epoch)|\[[=>.]+\]|ETA:|\u2501| [0-9]+s ")


class Keras:
    """Reads finished bars only: what a bar shows before is a mean over some batches."""

    rank, needles, marks = 1, (), ("poch", " - ")

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""
        self._epoch: int | None = None
        self._moment = 0
        self._shown: dict[str, Number] = {}

    def read(self, line: str) -> Reading | None:
        """Read a bar's values, or note the headline of an epoch."""
        epoch = headline(line)
        if epoch is not None:
            self._epoch, self._moment, self._shown = epoch, self._moment + 1, {}
            return None
        bar = _BAR.fullmatch(line) if line[:1].isdecimal() else None
        if bar is None or not _KERAS.search(bar["rest"]):
            return None
        values = dict(_values(bar["rest"]))
        if bar["done"] != bar["all"]:
            return Reading()
        if not (_holds(values, self._shown) or _validated(values) > _validated(self._shown)):
            self._epoch, self._moment = None, self._moment + 1
        self._shown = values
        return Reading(list(values.items()), self._epoch, self._moment, inner=line)


def _holds(values: Mapping[str, Number], shown: Mapping[str, Number]) -> bool:
    """Say whether a bar shows all numbers of another one: it is that bar, drawn again."""
    return all(values.get(name) == one for name, one in shown.items() if one[0] is not None)


def _validated(values: Mapping[str, Number]) -> bool:
    """Say whether a bar ends an epoch with validation: a callback's `evaluate` may come before."""
    return any(name.startswith("val_") for name in values)


def _values(text: str) -> Iterator[tuple[str, Number]]:
    for part in text.split(" - "):
        name, colon, value = part.strip().rpartition(": ")
        number = number_in(value) if colon else None
        if number is not None:
            yield name, number
