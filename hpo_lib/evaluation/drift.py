"""Drift: what a champion scores on a later run's data, and how that data differs from its own.

Pure. What training has left is read leniently: what is malformed is as if it was not there.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from hpo_lib.core.trial import Direction
from hpo_lib.words import count, line, number, utc

MAX_FEATURES, MAX_CLASSES = 64, 256
_MAX_NAME, _MAX_ROWS = 128, 2**53
#: Larger shifts, in standard deviations, are told as "at least" this.
_MAX_SHIFT = 100.0
_LARGEST = 1e100
_KEPT, _NAMED = 5, 3
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature's mean and standard deviation where it is known, and the share where it is not."""

    mean: float
    std: float
    missing: float = 0.0

    @classmethod
    def read(cls, plain: object) -> Feature | None:
        """Read the plain form, None if there is nothing in it to compare."""
        if not isinstance(plain, Mapping):
            return None
        mean, std = _finite(plain.get("mean")), _finite(plain.get("std"))
        if mean is None or std is None or std < 0:
            return None
        missing = _finite(plain.get("missing"))
        return cls(mean, std, missing if missing is not None and 0 <= missing <= 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Data:
    """What a training says of the rows that it used; `classes` has their shares, which add to 1."""

    fingerprint: str | None = None
    rows: int | None = None
    classes: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, Feature] = field(default_factory=dict)

    @classmethod
    def read(cls, plain: object) -> Data:
        """Read `data` of a model's metadata.json; docs/deploy.md has its form."""
        if isinstance(plain, str):
            return cls(line(plain, _MAX_NAME) or None)
        if not isinstance(plain, Mapping):
            return cls()
        said, rows = plain.get("fingerprint"), plain.get("rows")
        counted = isinstance(rows, int) and not isinstance(rows, bool) and 0 <= rows <= _MAX_ROWS
        features = {name: Feature.read(one) for name, one in _some(plain, "features", MAX_FEATURES)}
        return cls(
            line(said, _MAX_NAME) or None if isinstance(said, str) else None,
            rows if counted else None,
            _shares(_some(plain, "classes", MAX_CLASSES + 1)),
            {name: one for name, one in features.items() if one is not None},
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """How a feature has moved: `by` standard deviations, and its missing share from then to now."""

    name: str
    then: float
    now: float
    by: float
    missing: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Change:
    """How data differs from what it was; None where one side has not said.

    `classes` is the total variation distance of the classes' shares. `shifts` has the features that
    moved most, of `compared` in all; `gone` and `new` name features that one side alone has.
    """

    same: bool | None = None
    rows: tuple[int | None, int | None] = (None, None)
    classes: float | None = None
    shifts: Sequence[Shift] = ()
    compared: int = 0
    gone: Sequence[str] = ()
    new: Sequence[str] = ()

    def sentences(self) -> Iterator[str]:
        """Say it in words."""
        if self.same:
            yield "The data is the same as when it was made, by its fingerprint."
            return
        facts = list(self._facts())
        if facts:
            yield f"The data since then: {'; '.join(facts)}."
        elif self.same is False:
            yield "The data has changed, by its fingerprint; there is nothing to say how."
        else:
            yield "Whether the data has changed is not known: training left no statistics of it."

    def _facts(self) -> Iterator[str]:
        then, now = self.rows
        if then is not None and now is not None:
            yield f"{count(now, 'row')}, {f'were {then:,}' if now != then else 'as many as then'}"
        if self.classes is not None:
            yield f"class shares have moved by {_points(self.classes)} in all (total variation)"
        moved = [_moved(one) for one in self.shifts[:_NAMED] if one.by or _blanks(one)]
        if moved:
            yield f"of {count(self.compared, 'feature')} those moved most: {', '.join(moved)}"
        elif self.compared:
            yield f"no mean has moved, of {count(self.compared, 'feature')}"
        for word, names in (("gone", self.gone), ("new", self.new)):
            if names:
                rest = " and more" if names[_NAMED:] else ""
                yield f"{', '.join(names[:_NAMED])}{rest} {'are' if names[1:] else 'is'} {word}"


def compare(then: Data, now: Data) -> Change:
    """Compare the data of two runs.

    A feature's shift is the difference of its means over the root of its mean variance: the
    standardised mean difference (Cohen 1988), 0.1 of which is commonly taken for small (Austin
    2009). The classes' distance is half the sum of the absolute differences of their shares, the
    total variation distance (Gibbs & Su 2002): the share of rows that would have to change class.
    """
    known = then.fingerprint is not None and now.fingerprint is not None
    both = [name for name in then.features if name in now.features]
    shifts = [_shift(name, then.features[name], now.features[name]) for name in both]
    shifts.sort(key=lambda one: (-max(abs(one.by), _blanks(one)), one.name))
    named = bool(then.features) and bool(now.features)
    return Change(
        same=then.fingerprint == now.fingerprint if known else None,
        rows=(then.rows, now.rows),
        classes=_distance(then.classes, now.classes),
        shifts=tuple(shifts[:_KEPT]),
        compared=len(both),
        gone=tuple(sorted(then.features.keys() - now.features.keys())[:_KEPT]) if named else (),
        new=tuple(sorted(now.features.keys() - then.features.keys())[:_KEPT]) if named else (),
    )


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over seeds, with its standard error if there were several."""

    mean: float
    error: float | None = None
    seeds: int = 1

    @classmethod
    def of(cls, values: Sequence[object]) -> Score | None:
        """Take the mean of the values that are finite numbers; None if none is."""
        found = [value for one in values if (value := _finite(one)) is not None]
        if not found:
            return None
        size = len(found)
        mean = math.fsum(found) / size
        if size == 1:
            return cls(mean)
        variance = math.fsum((x - mean) * (x - mean) for x in found) / (size - 1)
        return cls(mean, math.sqrt(variance / size), size)

    @property
    def text(self) -> str:
        """Write it with its error."""
        error = "" if self.error is None else f" ± {number(self.error, _DIGITS)}"
        return f"{number(self.mean, _DIGITS)}{error}"


@dataclass(frozen=True, slots=True)
class ChampionCheck:
    """A champion on a later run's data: its configuration trained again, and what had changed.

    `time` is when the run began. `search`: its score is that of one trial of the search, as no
    final ones were due. `program` says in words how the training program has changed since,
    `missing` what should have been there to be compared.
    """

    run: int
    time: datetime
    version: int
    metric: str
    direction: Direction
    then: Score | None = None
    now: Score | None = None
    search: bool = False
    data: Change = field(default_factory=Change)
    program: Sequence[str] = ()
    missing: Sequence[str] = ()

    @property
    def worse(self) -> float | None:
        """By how much the score is worse than when the champion was made; below 0 it is better."""
        if self.then is None or self.now is None:
            return None
        return self.direction.loss(self.now.mean) - self.direction.loss(self.then.mean)

    @property
    def error(self) -> float | None:
        """The difference's standard error over seeds, taken as independent (Welch 1947)."""
        errors = [None if one is None else one.error for one in (self.then, self.now)]
        known = [one for one in errors if one is not None]
        return math.hypot(*known) if len(known) == len(errors) else None

    def sentences(self) -> Iterator[str]:
        """Say in words what its score is, what the data is like, and what else has changed."""
        yield self._of_score()
        yield from self.data.sentences()
        if self.program:
            yield f"It was trained otherwise when it was made: {'; '.join(self.program)}."
        if self.missing:
            yield f"What is missing: {'; '.join(self.missing)}."

    def _of_score(self) -> str:
        what = f"The champion, version {self.version}, trained again,"
        if self.now is None:
            return f"{what} has left no {self.metric}."
        by = "one trial of the search" if self.search else count(self.now.seeds, "seed")
        said = f"{what} has {self.metric} {self.now.text} by {by}"
        if self.then is None or self.worse is None:
            return f"{said}; what it was when it was made is not known."
        size = number(abs(self.worse), _DIGITS)
        if self.error is not None:
            size += f" ± {number(self.error, _DIGITS)}"
        how = f"worse by {size}" if self.worse > 0 else f"better by {size}"
        how = how if self.worse else "the same"
        return f"{said}; when it was made it had {self.then.text}: {how}."

    def dump(self) -> dict[str, Any]:
        """Give the plain form; what former versions do not know only where it says something."""
        plain = asdict(self) | {"time": utc(self.time).isoformat()}
        if not self.missing:
            del plain["missing"]
        return plain

    @classmethod
    def read(cls, plain: object) -> ChampionCheck | None:
        """Read the plain form, None if it is none; what came later may be missing."""
        try:
            values = dict(plain)  # type: ignore[call-overload]
            values["run"] = operator.index(values["run"])
            values["time"] = utc(datetime.fromisoformat(values["time"]))
            values["direction"] = Direction(values["direction"])
            values["data"] = _change(values.get("data") or {})
            for name in ("program", "missing"):
                values[name] = tuple(values.get(name) or ())
            for name in ("then", "now"):
                values[name] = Score(**values[name]) if values.get(name) else None
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def _change(plain: Mapping[str, Any]) -> Change:
    """Read the plain form of how data differs."""
    shifts = [Shift(**{**one, "missing": tuple(one["missing"])}) for one in plain.get("shifts", ())]
    values = {**plain, "shifts": tuple(shifts)}
    for name in ("rows", "gone", "new"):
        if name in plain:
            values[name] = tuple(plain[name])
    return Change(**values)


def _shift(name: str, then: Feature, now: Feature) -> Shift:
    missing = (then.missing, now.missing)
    moved = now.mean - then.mean
    spread = math.hypot(then.std, now.std) / math.sqrt(2)
    if not moved or abs(moved) >= _MAX_SHIFT * spread:
        most = math.copysign(_MAX_SHIFT, moved) if moved else 0.0
        return Shift(name, then.mean, now.mean, most, missing)
    return Shift(name, then.mean, now.mean, moved / spread, missing)


def _blanks(shift: Shift) -> float:
    """Give by how much the share of missing values has changed."""
    return abs(shift.missing[1] - shift.missing[0])


def _moved(shift: Shift) -> str:
    size = number(abs(shift.by), 3)
    size = f"at least {size}" if abs(shift.by) >= _MAX_SHIFT else size
    said = f"{shift.name} by {size} standard deviations ({number(shift.then, _DIGITS)} to "
    said += f"{number(shift.now, _DIGITS)})"
    if _blanks(shift):
        said += f", missing in {_points(shift.missing[1])}, were {_points(shift.missing[0])}"
    return said


def _points(share: float) -> str:
    return f"{number(share * 100, 2)} %"


def _distance(then: Mapping[str, float], now: Mapping[str, float]) -> float | None:
    if not then or not now:
        return None
    names = sorted({*then, *now})
    apart = math.fsum(abs(now.get(name, 0.0) - then.get(name, 0.0)) for name in names)
    return min(apart / 2, 1.0)


def _shares(pairs: Sequence[tuple[str, object]]) -> dict[str, float]:
    """Read shares or counts of classes; nothing if one is neither, or if they are too many."""
    found = [(name, _finite(value)) for name, value in pairs]
    known = {name: value for name, value in found if value is not None and value >= 0}
    whole = math.fsum(known.values())
    if len(known) < len(pairs) or len(known) > MAX_CLASSES or not 0 < whole <= _LARGEST:
        return {}
    return {name: value / whole for name, value in known.items()}


def _some(plain: Mapping[Any, Any], name: str, most: int) -> list[tuple[str, object]]:
    """Give the first pairs of what should be an object."""
    found = plain.get(name)
    pairs = list(found.items())[:most] if isinstance(found, Mapping) else []
    return [(line(str(key), _MAX_NAME), value) for key, value in pairs]


def _finite(value: object) -> float | None:
    """Give a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None
