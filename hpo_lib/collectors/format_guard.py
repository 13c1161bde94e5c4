"""Matches a conf's regular expressions in a process of its own: one may never come to an end.

Run as `python -I -S format_guard.py CPU_S CHARS_A_S BYTES LINE_S`, as a file. It reads lines of
JSON: first the expressions, each with the name of its metric or null, then lists of texts. It
answers each list with the CPU seconds that it has taken so far, and a list of its texts' matches:
name, value, the two letters before that, what comes after it, step. A text that takes more than
LINE_S seconds, or memory beyond BYTES, is given up: null. The kernel ends it after CPU_S seconds
and one more for every CHARS_A_S characters, so nobody has to watch it.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator

#: After so many texts that took too long it gives up the rest of a list: who asks gives up too.
MOST_ENDLESS = 5
#: So much of the text after a value is given: enough to see whether a number goes on.
_REST = 32


class _Late(Exception):
    """The time for a text is over."""


def main(cpu_s: int, chars_a_s: int, size: int, line_s: float) -> int:
    """Answer until there are no more questions."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    _limit(resource.RLIMIT_AS, size)
    _limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGPROF, _late)
    forms = [(name, re.compile(form)) for name, form in json.loads(sys.stdin.readline())]
    chars = 0
    for question in sys.stdin:
        chars += len(question)
        most = cpu_s + chars // chars_a_s
        own = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (own, hard))
        answers: list[list[list[str | None]] | None] = []
        for text in json.loads(question):
            answers.append(_answer(forms, text, line_s))
            if answers.count(None) == MOST_ENDLESS:
                break
        sys.stdout.write(f"{json.dumps([time.process_time(), answers])}\n")
        sys.stdout.flush()
    return 0


def _late(*_: object) -> None:
    raise _Late


def _answer(
    forms: list[tuple[str | None, re.Pattern[str]]], text: str, line_s: float
) -> list[list[str | None]] | None:
    """Give a text's matches; None if they take too long, or too much memory.

    Python looks for signals while it matches, so one can end that.
    """
    try:
        signal.setitimer(signal.ITIMER_PROF, line_s)
        found = [one for name, form in forms for one in _matches(name, form, text)]
        signal.setitimer(signal.ITIMER_PROF, 0)
    except (_Late, MemoryError):
        signal.setitimer(signal.ITIMER_PROF, 0)
        return None
    return found


def _matches(name: str | None, form: re.Pattern[str], text: str) -> Iterator[list[str | None]]:
    groups = form.groupindex
    value = groups.get("value", 2 if groups.get("step") == 1 else 1)
    for one in form.finditer(text):
        called = name if name is not None else one["name"]
        if called is None or one[value] is None:
            continue
        start, end = one.span(value)
        step = one["step"] if "step" in groups else None
        yield [called, one[value], text[max(start - 2, 0) : start], text[end : end + _REST], step]


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    own = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (own, own))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
