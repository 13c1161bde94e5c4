"""Matches a conf's regular expression in a process of its own: it may never come to an end.

Run as `python -I -S format_guard.py CPU_S BYTES`, as a file. It reads lines of JSON, first the
expression, then texts; it answers each text with a list of its matches' [name, value]. The kernel
ends it after CPU_S seconds and refuses it more than BYTES of memory, so nobody has to watch it.
"""

from __future__ import annotations

import json
import re
import resource
import sys


def main(cpu_s: int, size: int) -> int:
    """Answer until there are no more questions; 1 if memory was short."""
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_AS, size)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        form = re.compile(json.loads(sys.stdin.readline()))
        for question in sys.stdin:
            pairs = ((one["name"], one["value"]) for one in form.finditer(json.loads(question)))
            sys.stdout.write(f"{json.dumps([pair for pair in pairs if None not in pair])}\n")
            sys.stdout.flush()
    except MemoryError:
        return 1
    return 0


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    own = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (own, own))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
