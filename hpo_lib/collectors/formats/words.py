"""`name=value` and `name: value` anywhere in a line, as most people print metrics themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo_lib.collectors.formats import Number, Reading, headline, in_a_word, step_in
from hpo_lib.collectors.numbers import BEGINS, WHOLE, number_at, to_float


class Equals:
    """Reads `val_loss=0.5` and `val_loss = 0.5`; the step stands in the same line."""

    rank = 0
    needles: Sequence[bytes] = ()
    marks: Sequence[str] = ()
    _between = r"\s?=\s?"

    def __init__(self, wanted: frozenset[str]) -> None:
        """Take the names to look for; none stands for whatever looks like one."""
        longest_first = sorted(wanted, key=len, reverse=True)
        names = "|".join(map(re.escape, longest_first)) or r"[A-Za-z_][\w./-]*"
        self._form = re.compile(rf"({names}){self._between}(?:({WHOLE})|(?={BEGINS}))")

    def read(self, line: str) -> Reading | None:
        """Read the wanted names."""
        values: list[tuple[str, Number]] = []
        for found in self._form.finditer(line):
            start = found.start()
            if start and in_a_word(line, start):
                continue
            name, text = found.groups()
            if text is not None:
                values.append((name, (to_float(text), text)))
            elif number := number_at(line, found.end()):
                values.append((name, number))
        return Reading(values, self._step(line)) if values else None

    def _step(self, line: str) -> int | None:
        return step_in(line)


class Colon(Equals):
    """Reads `val_loss: 0.5`, also in quotes; without a step, it is that of a headline before."""

    rank = 2
    _between = r"[\"']?\s{0,8}:\s{0,8}[\"']?"

    def __init__(self, wanted: frozenset[str]) -> None:
        """Take the names to look for."""
        super().__init__(wanted)
        self._headline: int | None = None

    def read(self, line: str) -> Reading | None:
        """Read the wanted names, or note a headline such as `Epoch 3/10`."""
        epoch = headline(line)
        if epoch is not None:
            self._headline = epoch
            return None
        return super().read(line)

    def _step(self, line: str) -> int | None:
        own = step_in(line)
        return self._headline if own is None else own
