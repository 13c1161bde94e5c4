"""Lines read by a conf's own regular expressions, in a process that cannot hang us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple

from hpo_lib.collectors import format_guard
from hpo_lib.collectors.formats import Number, Reading, step_in
from hpo_lib.collectors.numbers import number_in, step_at
from hpo_lib.errors import TransientError, TrialFailed
from hpo_lib.files.lines import Line
from hpo_lib.validation import shown

#: What matching may take for one log, and for one line: seconds of CPU time; bytes of memory. A log
#: of many characters may take longer, and that it is slow is told.
FORMAT_S, FORMAT_CHARS_A_S, LINE_S, FORMAT_BYTES = 60, 1_000_000, 1.0, 2**29
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
    expressions: Sequence[Expression], found: Iterable[Line], remark: Callable[[str], object]
) -> Iterator[tuple[Line, Reading]]:
    """Read each line by expressions; TrialFailed if many, or all together, take too long.

    A line that takes too long, or too much memory, is left out: `remark` is told of the first, and
    of expressions that are slow.
    """
    endless, used_s = 0, 0.0
    with _guard(expressions) as guard:
        left = iter(found)
        while batch := list(islice(left, _AT_ONCE)):
            texts = [line.text[-MAX_LINE:] for line in batch]
            used_s, answers = _asked(guard, expressions, texts)
            for line, text, matches in zip(batch, texts, answers, strict=True):
                if matches is not None:
                    yield line, _reading(text, matches)
                    continue
                endless += 1
                if endless == 1:
                    remark(f"line {line.number} was left out: {_too_long(expressions)}")
                if endless == format_guard.MOST_ENDLESS:
                    raise TrialFailed(f"{_too_long(expressions)}; {endless} lines took longer")
    if used_s > FORMAT_S:
        forms = _forms(expressions)
        remark(f"metrics.format is slow: {used_s:.0f} s of CPU time for one log, with {forms}")


def _too_long(expressions: Sequence[Expression]) -> str:
    return (
        f"metrics.format: must match a line within {LINE_S:g} s of CPU time and "
        f"{FORMAT_BYTES >> 20} MiB of memory, got {_forms(expressions)}; a repeat within a "
        "repeat, such as (a+)+, may take for ever"
    )


def _forms(expressions: Sequence[Expression]) -> str:
    return shown(", ".join(one.form for one in expressions))


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
    limits = (str(FORMAT_S), str(FORMAT_CHARS_A_S), str(FORMAT_BYTES), str(LINE_S))
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
) -> tuple[float, list[list[_Match] | None]]:
    """Give the CPU seconds that the guard has taken, and each text's matches; None for too long."""
    _say(guard, texts)
    answer = guard.stdout.readline() if guard.stdout else ""
    if not answer:
        raise TrialFailed(
            f"metrics.format: must match a log within {FORMAT_S} s of CPU time, and one more for "
            f"every {FORMAT_CHARS_A_S:,} characters, got {_forms(expressions)}"
        )
    used_s, answers = json.loads(answer)
    return used_s, [
        None if matches is None else [_Match(*match) for match in matches] for matches in answers
    ]


def _say(guard: subprocess.Popen[str], what: object) -> None:
    """Send plain JSON, unless the guard has ended: then there will be no answer."""
    with suppress(BrokenPipeError):
        if guard.stdin:
            guard.stdin.write(f"{json.dumps(what)}\n")
            guard.stdin.flush()
