"""`name=value` and `name: value` anywhere in a line, as most people print metrics themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo_lib.collectors.formats import Number, Reading, headline, in_a_word, step_in
from hpo_lib.collectors.numbers import BEGINS, WHOLE, WRAPPED, number_at

#: Ends with a word that makes `val loss` another metric than `loss`.
_QUALIFIED = re.compile(
    r"(?i:val|valid|validation|train|training|test|testing|eval|dev|best|target)\s$"
)

_LONGEST = len("validation ")

#: Beside other values these count them.
_COUNTERS = frozenset({"step", "epoch"})


class Equals:
    """Reads `val_loss=0.5` and `val_loss = 0.5`; the step stands in the same line."""

    rank = 0
    needles: Sequence[bytes] = ()
    marks: Sequence[str] = ()
    _between = r"[ \t]{0,40}=[ \t]{0,40}[\"']?"

    def __init__(self, wanted: frozenset[str]) -> None:
        """Take the names to look for; none stands for whatever looks like one."""
        longest_first = sorted(wanted, key=len, reverse=True)
        names = "|".join(map(re.escape, longest_first)) or r"[A-Za-z_][\w./-]*"
        self._form = re.compile(
            rf"({names}){self._between}(?:{WRAPPED})?(?:({WHOLE})|(?={BEGINS}))"
        )

    def read(self, line: str) -> Reading | None:
        """Read the wanted names."""
        values: list[tuple[str, Number]] = []
        starts: list[int] = []
        alone = line.count("=") <= 1
        for found in self._form.finditer(line):
            start = found.start()
            if start and line[start - 1] != " " and in_a_word(line, start):
                continue
            name, text = found.groups()
            if name in _COUNTERS and not alone:
                continue
            if text is not None:
                values.append((name, (float(text), text)))
            elif number := number_at(line, found.end()):
                values.append((name, number))
            else:
                continue
            starts.append(start)
        if not values or "Namespace(" in line:  # the arguments of a program, no results
            return None
        if len(values) > 1 and len({name for name, _ in values}) < len(values):
            values = _plainest(values, [_is_qualified(line, at) for at in starts])
        return Reading(values, self._step(line))

    def _step(self, line: str) -> int | None:
        return step_in(line)


class Colon(Equals):
    """Reads `val_loss: 0.5`, also in quotes; without a step, it is that of a headline before."""

    rank = 2
    _between = r"[\"']?[ \t]{0,40}:[ \t]{0,40}[\"']?"

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


def _is_qualified(line: str, at: int) -> bool:
    """Say whether a word before a name makes it another's; a look at all before would be square."""
    return _QUALIFIED.search(line, max(0, at - _LONGEST), at) is not None


def _plainest(
    values: Sequence[tuple[str, Number]], qualified: Sequence[bool]
) -> list[tuple[str, Number]]:
    """Of a name that stands in a line as `loss` and as `val loss`, keep what is the plain one."""
    pairs = list(zip(values, qualified, strict=True))
    plain = {name for (name, _), other in pairs if not other}
    return [one for one, other in pairs if not other or one[0] not in plain]
