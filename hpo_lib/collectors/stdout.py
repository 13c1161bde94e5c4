"""Metrics from what a trial prints, in the format of a library, a person or a program."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import AnyStr

from hpo_lib import registry
from hpo_lib.collectors import Sighting, Source, own_format
from hpo_lib.collectors.formats import TITLES, Format, Number, Reading, asked
from hpo_lib.collectors.numbers import is_glued
from hpo_lib.collectors.own_format import Expression
from hpo_lib.core.trial import Observation
from hpo_lib.files.lines import LONGEST, Line, numbered
from hpo_lib.files.places import Place
from hpo_lib.spec.sections import Metrics

#: What a person takes for a metric, such as `loss -> 0.5`.
_LOOSE = re.compile(
    r"(?<![\w./-])(?P<name>[A-Za-z_][\w./-]*)[\"']?\s{0,8}(?:[:=]|=>|->)\s{0,8}[\"']?"
    r"(?=[-+.]?[0-9]|[-+]?(?i:nan|inf))"
)
_DRAWN = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x08")
_WORD = re.compile(r"[^\W_]{3,}")
_SHOWN = 120
#: So many lines may wait until it is known whether a bar is drawn once more.
_WAITING = 1_000


class LineCollector:
    """Reads the lines of one file, by LineRules; a subclass says where it is."""

    def __init__(self, settings: Metrics) -> None:
        """Take the format, or the definitions, valid by the spec."""
        self._rules = LineRules(settings)

    def place(self, source: Source) -> Place:
        """Say where the lines are."""
        raise NotImplementedError

    @property
    def unreadable(self) -> Mapping[str, str]:
        """By metric, why its values are not to be relied on."""
        return self._rules.unreadable

    @property
    def remarks(self) -> Sequence[str]:
        """What was not read, and why."""
        return self._rules.remarks

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the lines."""
        return self._rules.read(self.place(source), wanted, growing=source.growing)

    def tally(self, source: Source, wanted: frozenset[str]) -> Counter[str]:
        """Count the values of wanted metrics that each known format would read."""
        return LineRules(Metrics()).tally(self.place(source), wanted)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield what looks like a metric in the lines."""
        return self._rules.sightings(self.place(source))


class StdoutCollector(LineCollector):
    """Reads the attempt's log."""

    def place(self, source: Source) -> Place:
        """Give the log."""
        return source.log


class LineRules:
    """How metrics are read from lines: by one format of the registry, or by whichever fits.

    Without a format, each line is read by the first one whose kind it is, and each metric is taken
    from the format with the lowest rank that has it, of those from the first in the file. A format
    may also be a regular expression with the groups `name`, `value` and perhaps `step`; and
    `metric_definitions` have an expression for each metric, whose first group counts. An expression
    that takes too long, or too much memory, raises TrialFailed.
    """

    def __init__(self, settings: Metrics) -> None:
        """Take format and definitions, valid by the spec."""
        self._format = settings.format
        self._expressions = list(_expressions(settings))
        self.unreadable: dict[str, str] = {}
        self._glued: dict[str, str] = {}
        self.remarks: list[str] = []
        self._cut = self._growing = False

    def read(
        self, place: Place, wanted: frozenset[str], *, growing: bool = False
    ) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of a file.

        A value that begins as a number and is none is noted in `unreadable`, by metric; a line that
        is too long to be read whole, in `remarks`.
        """
        self.unreadable.clear()
        self._glued.clear()
        self.remarks.clear()
        self._cut, self._growing = False, growing
        owners = self.owners(place, wanted)
        if owners is not None and not owners:
            return
        seen: set[str] = set()
        readings = self._readings(place, wanted)
        if owners is None or any(owners.values()):
            readings = _latest(readings)  # lines for programs are no bars
        for index, (line, by, reading) in enumerate(readings):
            step = reading.step
            for printed, (value, text) in reading.values:
                name = printed if printed in wanted else asked(printed, wanted)
                if name is None or (owners is not None and owners.get(name) != by):
                    continue
                if value is not None:
                    seen.add(name)
                    yield Observation(name, value, step, None, index)
                else:
                    self._note(name, text, line)
        self.unreadable |= {name: why for name, why in self._glued.items() if name not in seen}

    def owners(self, place: Place, wanted: frozenset[str]) -> dict[str, str] | None:
        """Name the format that each metric is taken from; None if there is but one format.

        Formats of rank 0 count as one, which has no name.
        """
        if self._format is not None or self._expressions:
            return None
        found: dict[str, str] = {}
        glued: dict[str, str] = {}
        for _, by, reading in self._readings(place, wanted, titles=()):
            for name, (value, text) in _wanted(reading, wanted):
                if value is None and is_glued(text):
                    glued.setdefault(name, by)
                elif name not in found or _rank(by) < _rank(found[name]):
                    found[name] = by
            if len(found) == len(wanted) and not any(map(_rank, found.values())):
                break
        return glued | found

    def sightings(self, place: Place) -> Iterator[Sighting]:
        """Yield what looks like a metric in a file, also where the format passes it over."""
        for line, by, reading in self._readings(place, _ALL):
            text = _plain(line.text)
            taken = [printed for printed, _ in reading.values]
            all_told = taken and (by or text.startswith("{"))
            loose = [] if all_told else [found["name"] for found in _LOOSE.finditer(text)]
            for name in dict.fromkeys([*taken, *loose]):
                yield Sighting(name, name in taken, text, line.number)

    def tally(self, place: Place, wanted: frozenset[str]) -> Counter[str]:
        """Count the values of wanted metrics by the format that reads them."""
        readings = _latest(self._readings(place, wanted, named=True))
        return Counter(by for _, by, reading in readings for _ in _wanted(reading, wanted))

    def _note(self, name: str, text: str, line: Line) -> None:
        """Note what is no number; that of text glued to a number only if there is nothing else."""
        noted = self._glued if is_glued(text) else self.unreadable
        where = f"line {line.number}: {_plain(line.text)[:_SHOWN]}"
        reason = f"{name} must be wholly a number, got {text!r} in {where}"
        noted.setdefault(name, reason)

    def _readings(
        self,
        place: Place,
        wanted: frozenset[str],
        *,
        named: bool = False,
        titles: tuple[bytes, ...] = TITLES,
    ) -> Iterator[tuple[Line, str, Reading]]:
        """Yield what lines say, and by which format; `named` those of rank 0 too."""
        if self._expressions:
            yield from self._matches(place, wanted)
            return
        reader = _Reader(self._formats(wanted), wanted, named=named)
        for line in numbered(place, reader.needles, titles, growing=self._growing):
            if line.cut or len(line.text) > LONGEST:
                self._remark(line, LONGEST)
            for by, reading in reader.read(_plain(line.text)):
                yield line, by, reading

    def _matches(self, place: Place, wanted: frozenset[str]) -> Iterator[tuple[Line, str, Reading]]:
        """Yield what the conf's own expressions find, line by line."""
        needles = () if self._format is None else tuple(_needles(wanted))
        found = numbered(place, needles, growing=self._growing)
        for line, reading in own_format.readings(self._expressions, found, self.remarks.append):
            if line.cut or len(line.text) > own_format.MAX_LINE:
                self._remark(line, own_format.MAX_LINE)
            yield line, "", reading

    def _formats(self, wanted: frozenset[str]) -> dict[str, Format]:
        names = registry.FORMATS if self._format is None else [self._format]
        return {name: registry.load("format", name)(wanted) for name in names}

    def _remark(self, line: Line, most: int) -> None:
        """Note that the front of a line was not read, once."""
        if not self._cut:
            self._cut = True
            self.remarks.append(
                f"line {line.number} is longer than {most:,} characters: only its end was read"
            )


#: In place of wanted names: whatever looks like one.
_ALL: frozenset[str] = frozenset()


def _expressions(settings: Metrics) -> Iterator[Expression]:
    if settings.format is not None and settings.format not in registry.FORMATS:
        yield Expression(None, settings.format)
    for one in settings.metric_definitions:
        yield Expression(one.name, one.regex)


@cache
def _rank(name: str) -> int:
    return int(registry.load("format", name).rank) if name else 0


class _Reader:
    """Reads a line by the first format whose kind it is, or else the text in it by a later one.

    It says by which, in no words for those of rank 0 unless they are `named`. Without wanted names
    it reads whatever looks like one, and says of every line what it is.
    """

    def __init__(
        self, formats: Mapping[str, Format], wanted: frozenset[str], *, named: bool
    ) -> None:
        self._wanted = wanted
        self._formats = [(n if named or one.rank else "", one) for n, one in formats.items()]
        self._unmarked = [(name, one) for name, one in self._formats if not one.marks]
        marks = _shortest({mark for one in formats.values() for mark in one.marks})
        self._marked = re.compile("|".join(map(re.escape, marks)) or "(?!)").search
        own = (needle for one in formats.values() for needle in one.needles)
        self.needles = tuple(dict.fromkeys([*_needles(wanted), *own])) if wanted else ()

    def read(self, text: str) -> list[tuple[str, Reading]]:
        """Read a line; most are of a kind without a mark."""
        if self._marked(text) or not self._wanted:
            return list(self._of_all(text))
        for name, one in self._unmarked:
            reading = one.read(text)
            if reading is not None:
                return [(name, reading)]
        return []

    def _of_all(self, text: str) -> Iterator[tuple[str, Reading]]:
        step = None
        for name, one in self._formats:
            reading = one.read(text)
            if reading is None:
                continue
            yield name, reading if reading.step is not None else reading._replace(step=step)
            if reading.inner is None or any(_wanted(reading, self._wanted)):
                return
            text = _plain(reading.inner)
            step = reading.step if name == "" else step
        if not self._wanted:
            yield "", Reading()


def _latest(
    readings: Iterable[tuple[Line, str, Reading]],
) -> Iterator[tuple[Line, str, Reading]]:
    """Of readings of the same moment, by one format, yield the last; all others in their order."""
    waiting: list[tuple[Line, str, Reading]] = []
    for line, by, reading in readings:
        if reading.moment is not None:
            same = [one for one in waiting if (one[1], one[2].moment) == (by, reading.moment)]
            if same:
                waiting.remove(same[0])
            else:
                yield from waiting
                waiting.clear()
        elif not waiting or len(waiting) > _WAITING:
            yield from waiting
            waiting.clear()
            yield line, by, reading
            continue
        waiting.append((line, by, reading))
    yield from waiting


def _wanted(reading: Reading, wanted: frozenset[str]) -> Iterator[tuple[str, Number]]:
    for printed, number in reading.values:
        name = printed if printed in wanted else asked(printed, wanted)
        if name is not None:
            yield name, number


def _needles(wanted: frozenset[str]) -> list[bytes]:
    """Give for each name its longest word, which stands wherever the metric does, however spelt."""
    found = set()
    for name in wanted:
        word = max(_WORD.findall(name), key=len, default=name)
        found |= {word.encode()} if word.isascii() else {word.encode(), b"\\u"}
    return _shortest(found)


def _shortest(words: set[AnyStr]) -> list[AnyStr]:
    """Leave out what holds another one: whoever looks for that finds it too."""
    return sorted(one for one in words if not any(other in one for other in words - {one}))


def _plain(text: str) -> str:
    drawn = "\x1b" in text or "\x08" in text
    return (_DRAWN.sub("", text) if drawn else text).strip()
