"""What XGBoost, LightGBM and CatBoost print: a line a round, `name:value` between tabs.

The rounds of `cv` have a mean and a standard deviation, of which the mean is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpo_lib.collectors.formats import Number, Reading
from hpo_lib.collectors.numbers import number_at, number_in

#: SageMaker's logs have #011 where a tab was printed.
_TAB = re.compile(r"\t|#011")
_ROUND = re.compile(r"(?:^|.*[\s\]])\[(?P<round>[0-9]+)\](?:\t|#011)(?P<rest>.+)")
_CATBOOST = re.compile(r"(?P<round>[0-9]+):\t(?P<rest>.+)")
_MEAN = re.compile(r"(\S*[0-9.]) ?\+ ?([0-9.]\S*)")


class XGBoost:
    """Reads `[12]\ttrain-rmse:0.81\tvalidation-rmse:0.93`."""

    rank, needles, marks = 1, (), ("\t", "#011")

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read a round."""
        return _round(_ROUND, line, ":")


class LightGBM:
    """Reads `[20]\tvalid_1's auc: 0.84`."""

    rank, needles, marks = 1, (), ("\t", "#011")

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read a round."""
        return _round(_ROUND, line, ": ")


class CatBoost:
    """Reads `12:\tlearn: 0.59\ttest: 0.60\tbest: 0.60 (12)`."""

    rank, needles, marks = 1, (), ("\t", "#011")

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read a round; what stands after a number, in brackets, is another round's."""
        return _round(_CATBOOST, line, ": ")


def _round(form: re.Pattern[str], line: str, colon: str) -> Reading | None:
    found = form.fullmatch(line)
    values = list(_values(found["rest"], colon)) if found else []
    return Reading(values, int(found["round"]), inner=line) if found and values else None


def _values(text: str, colon: str) -> Iterator[tuple[str, Number]]:
    for part in _TAB.split(text):
        name, found, value = part.strip().partition(colon)
        number = _number(value) if found and not value.startswith(" ") else None
        if number is not None:
            yield name, number


def _number(text: str) -> Number | None:
    mean = _MEAN.fullmatch(text)
    if mean and number_in(mean[2]) and number_in(mean[2])[0] is not None:  # type: ignore[index]
        return number_in(mean[1])
    return number_at(text) if " (" in text else number_in(text)
