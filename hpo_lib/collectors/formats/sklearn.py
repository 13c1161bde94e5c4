"""What scikit-learn prints with `verbose`: networks, boosting, linear models, searches."""

from __future__ import annotations

import re

from hpo_lib.collectors.formats import Number, Reading
from hpo_lib.collectors.numbers import number_at, number_in

_ITERATION = re.compile(r"Iteration (?P<step>[0-9]+), (?P<name>loss|inertia)(?: =)? (?P<value>\S+)")
_EPOCH = re.compile(r"-- Epoch ([0-9]+)")
_OF_EPOCH = re.compile(r"(Validation score|Avg\. loss|Norm|Bias|Objective): ")
_ROUND = re.compile(r"\[(?P<step>[0-9]+)/[0-9]+\] [0-9]+ trees?, (?P<rest>.*)")
_NAMED = re.compile(r"(?:^|, )([a-z][a-z ]*): (?=[-+.0-9ni])")
_FOLD = re.compile(r"\[CV(?: [^\]]*)?\] END (?P<rest>.*) total time=.*")
_SCORES = re.compile(r"(?P<name>\w+)(?:=|: )\((?P<inner>[^()]*)\)")
_SCORE = re.compile(r"(?:^|, )(train|test)=(\S+?)(?=,|$)")
_ONE_SCORE = re.compile(r"(?:^|;,? |, )(score)=(\S+)$")
#: What stands between the columns of a table.
_WIDE = b"        "
_COLUMNS = re.compile(r"\s{2,}")


class SkLearn:
    """Remembers the number of an epoch, and the columns of a table."""

    rank = 1
    marks = ("Iteration", "Epoch", "Validation", "Norm:", "[", "  ")

    def __init__(self, wanted: frozenset[str]) -> None:
        """Take all names; of a table's rows only if one of its columns is wanted."""
        columns = any(name.startswith(("Train", "OOB")) for name in wanted)
        self.needles = (
            b"Iteration ",
            b"-- Epoch ",
            *((b"Remaining Time", _WIDE) if columns else ()),
        )
        self._step: int | None = None
        self._columns: list[str] = []

    def read(self, line: str) -> Reading | None:
        """Read one of the kinds of lines."""
        if headline := _EPOCH.fullmatch(line):
            self._step = int(headline[1])
            return Reading()
        if found := _ITERATION.fullmatch(line):
            self._step = int(found["step"])
            return _reading(line, [(found["name"], number_in(found["value"]))], self._step)
        if found := _ROUND.fullmatch(line):
            return _reading(line, _named(found["rest"]), int(found["step"]))
        if found := _FOLD.fullmatch(line):
            return _reading(line, _scores(found["rest"].strip()), None)
        if _OF_EPOCH.search(line):
            pairs = ((one[1], number_at(line, one.end())) for one in _OF_EPOCH.finditer(line))
            return _reading(line, list(pairs), self._step)
        return self._of_table(line)

    def _of_table(self, line: str) -> Reading | None:
        """Read a row of the table that gradient boosting prints."""
        cells = _COLUMNS.split(line.strip())
        if cells[0] == "Iter" and cells[-1] == "Remaining Time":
            self._columns = cells
            return Reading()
        if len(cells) != len(self._columns) or not cells[0].isdecimal():
            return None
        pairs = zip(self._columns[1:-1], map(number_in, cells[1:-1]), strict=True)
        return _reading(line, list(pairs), int(cells[0]))


def _reading(line: str, pairs: list[tuple[str, Number | None]], step: int | None) -> Reading | None:
    values = [(name, number) for name, number in pairs if number is not None]
    return Reading(values, step, inner=line) if values else None


def _named(text: str) -> list[tuple[str, Number | None]]:
    return [(one[1], number_at(text, one.end())) for one in _NAMED.finditer(text)]


def _scores(text: str) -> list[tuple[str, Number | None]]:
    """Give a fold's scores: `score` and `train_score`, or those of each metric."""
    found: list[tuple[str, Number | None]] = []
    for one in _SCORES.finditer(text):
        for side, value in _SCORE.findall(one["inner"]):
            own = one["name"] if side == "test" else f"train_{one['name']}"
            found += [(own, number_in(value)), (side, number_in(value))]
    return found or [(name, number_in(value)) for name, value in _ONE_SCORE.findall(text)]
