"""Matches a conf's regular expressions in a process of its own: one may never come to an end.

Run as `python -I -S format_guard.py CPU_S BYTES LINE_S`, as a file. It reads lines of JSON: first
the expressions, each with the name of its metric or null, then lists of texts. It answers each list
with a list of its texts' matches: name, value, the two letters before that, what comes after it,
step. The kernel ends it after CPU_S seconds, or LINE_S for one text, and refuses it more than BYTES
of memory, so nobody has to watch it.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from collections.abc import Iterator

#: So much of the text after a value is given: enough to see whether a number goes on.
_REST = 32


def main(cpu_s: int, size: int, line_s: float) -> int:
    """Answer until there are no more questions; 1 if memory was short."""
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_AS, size)
    _limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        signal.setitimer(signal.ITIMER_PROF, line_s)
        forms = [(name, re.compile(form)) for name, form in json.loads(sys.stdin.readline())]
        for question in sys.stdin:
            answers = []
            for text in json.loads(question):
                signal.setitimer(signal.ITIMER_PROF, line_s)
                answers.append([one for name, form in forms for one in _matches(name, form, text)])
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout.write(f"{json.dumps(answers)}\n")
            sys.stdout.flush()
    except MemoryError:
        return 1
    return 0


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
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
