"""What PyTorch Lightning prints: its progress bar (tqdm), and the table of `validate` and `test`.

A bar shows the last epoch's `val_loss` until this one's is known, so only its last state counts;
other messages may be glued to it. A bar of tqdm of one's own, `Epoch 1/3: …`, is read alike.
The bar of rich, which Lightning takes where rich is installed, leaves but the last epoch in a log,
broken into short lines: it is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo_lib.collectors.formats import Number, Reading
from hpo_lib.collectors.numbers import number_in

_BAR = re.compile(
    r"Epoch (?P<epoch>[0-9]+)(?:/[0-9]+)?: +(?:[0-9]+%)?\|.*\| "
    r"(?P<done>[0-9]+)/(?P<all>[0-9]+|\?) \[(?P<rest>[^\]]*)\]"
)
_TITLE = re.compile(r"[\u2503|\s]*\S+ metric[\u2503|\s]+DataLoader 0[\u2503|\s]*")
_EDGES = "\u2502|\u2503 \t"
_COLUMNS = re.compile(r"\s{2,}[\u2502|]?\s*")


class Lightning:
    """Steps are Lightning's epochs, which begin with 0."""

    rank, needles, marks = 1, (b" metric ",), ("|", "  ")

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""
        self._epoch, self._moment, self._table = -1, 0, False

    def read(self, line: str) -> Reading | None:
        """Read a full bar, or a row of a table."""
        bar = _BAR.match(line) if line.startswith("Epoch ") else None
        if bar is None:
            return self._row(line)
        if bar["all"] not in (bar["done"], "?") or bar["done"] == "0":
            return Reading()
        epoch = int(bar["epoch"])
        if epoch != self._epoch:
            self._epoch, self._moment = epoch, self._moment + 1
        return Reading(list(_postfix(bar["rest"])), epoch, self._moment)

    def _row(self, line: str) -> Reading | None:
        if " metric " in line and _TITLE.fullmatch(line):
            self._table = True
            return Reading()
        if not self._table:
            return None
        cells = _COLUMNS.split(line.strip(_EDGES))
        number = number_in(cells[1]) if len(cells) == 2 else None
        return Reading([(cells[0], number)]) if number else None


def _postfix(text: str) -> Iterator[tuple[str, Number]]:
    for part in text.split(", "):
        name, equals, value = part.partition("=")
        number = number_in(value) if equals else None
        if number is not None:
            yield name.strip(), number
