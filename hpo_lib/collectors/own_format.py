"""Lines read by a conf's own regular expressions, in a process that cannot hang us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple

from hpo_lib.collectors import format_guard
from hpo_lib.collectors.formats import Number, Reading, step_in
from hpo_lib.collectors.numbers import number_in, step_at
from hpo_lib.errors import TransientError, TrialFailed
from hpo_lib.files.lines import Line

#: What matching may take for one log, and for one line: seconds of CPU time; bytes of memory.
FORMAT_S, LINE_S, FORMAT_BYTES = 60, 1.0, 2**29
#: Of a longer line only the end is matched: an expression may take the square of its length.
MAX_LINE = 4_096
_AT_ONCE = 64


class Expression(NamedTuple):
    """A regular expression, and the metric whose values it gives; None: its group `name` says."""

    metric: str | None
    form: str


class _Match(NamedTuple):
    """What a guard answers for one match, as it says."""

    metric: str
    value: str
    before: str
    rest: str
    step: str | None


#: A number that begins after a digit, a point or a minus begins before it.
_IN_FRONT = re.compile(r"[0-9.]$|(?:^|[^\w])[-\u2212]$")
_GOES_ON = re.compile(
    r"[0-9]|\.[0-9]|[eE][-+]?[0-9]|[:/'\u2019_\u00a0\u2009\u202f](?=[0-9])|,(?=[0-9])"
)


def readings(
    expressions: Sequence[Expression], found: Iterable[Line]
) -> Iterator[tuple[Line, Reading]]:
    """Read each line by expressions; TrialFailed if one takes too long, or too much memory."""
    with _guard(expressions) as guard:
        left = iter(found)
        while batch := list(islice(left, _AT_ONCE)):
            texts = [line.text[-MAX_LINE:] for line in batch]
            answers = _asked(guard, expressions, texts)
            for line, text, matches in zip(batch, texts, answers, strict=True):
                yield line, _reading(text, matches)


def _reading(text: str, matches: Sequence[_Match]) -> Reading:
    values = [(one.metric, _number(one)) for one in matches]
    own = (step_at(one.step.strip(), 0) for one in matches if one.step is not None)
    step = next((one for one in own if one is not None), None)
    known = [(name, number) for name, number in values if number is not None]
    return Reading(known, step_in(text) if step is None else step)


def _number(match: _Match) -> Number | None:
    """Read a group's text; it is no number if it is a part of one that stands there.

    After a number with a point a comma parts columns.
    """
    found = number_in(match.value.strip(" ,;"))
    if found is None or found[0] is None:
        return found
    if "." in match.value and match.rest.startswith(","):
        return found
    if _IN_FRONT.search(match.before) or _GOES_ON.match(match.rest):
        return None, f"{match.before}{match.value}{match.rest}".strip()[:40]
    return found


@contextmanager
def _guard(expressions: Sequence[Expression]) -> Iterator[subprocess.Popen[str]]:
    limits = (str(FORMAT_S), str(FORMAT_BYTES), str(LINE_S))
    words = [sys.executable, "-I", "-S", format_guard.__file__, *limits]
    pipe = subprocess.PIPE
    try:
        guard = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own
    except OSError as error:
        raise TransientError(f"metrics.format: no process to match it in: {error}") from None
    try:
        _say(guard, expressions)
        yield guard
    finally:
        guard.kill()
        guard.communicate()


def _asked(
    guard: subprocess.Popen[str], expressions: Sequence[Expression], texts: Sequence[str]
) -> list[list[_Match]]:
    _say(guard, texts)
    answer = guard.stdout.readline() if guard.stdout else ""
    if not answer:
        raise TrialFailed(
            f"metrics.format: must match a log within {FORMAT_S} s of CPU time and "
            f"{FORMAT_BYTES >> 20} MiB of memory, and a line within {LINE_S:g} s, got "
            f"{', '.join(one.form for one in expressions)}; a repeat within a repeat, such as "
            "(a+)+, may take for ever"
        )
    return [[_Match(*match) for match in matches] for matches in json.loads(answer)]


def _say(guard: subprocess.Popen[str], what: object) -> None:
    """Send plain JSON, unless the guard has ended: then there will be no answer."""
    with suppress(BrokenPipeError):
        if guard.stdin:
            guard.stdin.write(f"{json.dumps(what)}\n")
            guard.stdin.flush()
