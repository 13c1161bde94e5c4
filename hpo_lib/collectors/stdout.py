"""Metrics from what a trial prints: `name=value` anywhere in a line, or a JSON object as a line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from hpo_lib.collectors import Sighting, Source, format_guard, from_json, to_float
from hpo_lib.core.trial import Observation
from hpo_lib.errors import TransientError, TrialFailed
from hpo_lib.files.lines import lines
from hpo_lib.files.places import Place
from hpo_lib.spec.sections import Metrics

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))"
#: Linear in a line's length: no name begins within another, and a number is never taken in part.
DEFAULT = rf"(?<![\w./-])(?P<name>[A-Za-z_][\w./-]*)\s?=\s?(?P<value>(?>{_NUMBER}))(?![\w.])"
#: What a person takes for a metric, such as `loss: 0.5` or `'loss': 0.5`.
_LOOSE = re.compile(
    rf"(?<![\w./-])(?P<name>[A-Za-z_][\w./-]*)[\"']?\s*(?:[:=]|=>|->)\s*[\"']?(?>{_NUMBER})(?![\w.])"
)
_DEFAULT = re.compile(DEFAULT)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MAX_LINE = 4_096
_STEPS = ("step", "epoch")
#: What matching a conf's format may take for one log: seconds of CPU time, bytes of memory.
FORMAT_S, FORMAT_BYTES = 60, 2**29

#: Gives the name and the text of the value of every match in a line.
_Match = Callable[[str], list[tuple[str, str]]]


class StdoutCollector:
    """Reads the attempt's log, by LineRules."""

    def __init__(self, settings: Metrics) -> None:
        """Take the format, valid by the spec."""
        self._rules = LineRules(settings.format)

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of the log."""
        return self._rules.read(source.log, wanted)

    def sightings(self, source: Source) -> Iterator[Sighting]:
        """Yield what looks like a metric in the log."""
        return self._rules.sightings(source.log)


class LineRules:
    """How metrics are read from lines: by `format` (groups `name` and `value`), or else DEFAULT.

    A `step=` or `epoch=` in the same line is the step of its values. Of a line longer than 4,096
    characters only the end is read. A format that takes too long, or too much memory, raises
    TrialFailed.
    """

    def __init__(self, form: str | None) -> None:
        self._format = form

    def read(self, place: Place, wanted: frozenset[str]) -> Iterator[Observation]:
        """Yield every value of the wanted metrics in the order of a file."""
        with _matching(self._format) as match:
            for line in lines(place):
                if any(name in line for name in wanted):
                    yield from _values(_pairs(line, match), wanted)

    def sightings(self, place: Place) -> Iterator[Sighting]:
        """Yield what looks like a metric in a file, also where the format passes it over."""
        with _matching(self._format) as match:
            for number, line in enumerate(lines(place), start=1):
                read = {name for name, _ in _pairs(line, match)}
                text = _plain(line)
                loose = [found["name"] for found in _LOOSE.finditer(text)]
                for name in dict.fromkeys([*read, *loose]):
                    yield Sighting(name, name in read, text, number)


def _values(pairs: list[tuple[str, float]], wanted: frozenset[str]) -> Iterator[Observation]:
    step = next((int(v) for n, v in pairs if n in _STEPS and v % 1 == 0), None)
    for name, value in pairs:
        if name in wanted:
            yield Observation(metric=name, value=value, step=step)


def _pairs(line: str, match: _Match) -> list[tuple[str, float]]:
    """List all names and numbers of a line, wanted or not."""
    line = _plain(line)
    pairs = list(from_json(line).items()) if line.startswith("{") else []
    read = ((name, to_float(value)) for name, value in ([] if pairs else match(line)))
    return pairs or [(name, value) for name, value in read if value is not None]


def _plain(line: str) -> str:
    return _COLOUR.sub("", line[-_MAX_LINE:]).strip()


@contextmanager
def _matching(form: str | None) -> Iterator[_Match]:
    """Match by DEFAULT, or by a conf's format in a process of its own, which cannot hang us."""
    if form is None:
        yield lambda line: [(m["name"], m["value"]) for m in _DEFAULT.finditer(line)]
        return
    guard = _guard(form)
    try:
        yield lambda line: _asked(guard, form, line)
    finally:
        guard.kill()
        guard.communicate()


def _guard(form: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-I", "-S", format_guard.__file__, str(FORMAT_S), str(FORMAT_BYTES)]
    pipe = subprocess.PIPE
    try:
        guard = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own
    except OSError as error:
        raise TransientError(f"metrics.format: no process to match it in: {error}") from None
    _say(guard, form)
    return guard


def _asked(guard: subprocess.Popen[str], form: str, line: str) -> list[tuple[str, str]]:
    _say(guard, line)
    answer = guard.stdout.readline() if guard.stdout else ""
    if not answer:
        raise TrialFailed(
            f"metrics.format: must match a log within {FORMAT_S} s of CPU time and "
            f"{FORMAT_BYTES >> 20} MiB of memory, got {form}; a repeat within a repeat, such as "
            "(a+)+, may take for ever"
        )
    return [(name, value) for name, value in json.loads(answer)]


def _say(guard: subprocess.Popen[str], text: str) -> None:
    """Send a text, unless the guard has ended: then there will be no answer."""
    with suppress(BrokenPipeError):
        if guard.stdin:
            guard.stdin.write(f"{json.dumps(text)}\n")
            guard.stdin.flush()
