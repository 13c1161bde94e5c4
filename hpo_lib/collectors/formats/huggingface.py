"""What Hugging Face's Trainer prints: a Python dict, its numbers as text since version 5.

`{'eval_loss': '0.6935', 'epoch': '1'}`. The step is a whole `epoch`, unless there is a `step`.
"""

from __future__ import annotations

import re

from hpo_lib.collectors.formats import Reading, step_in
from hpo_lib.collectors.numbers import number_in, whole

_DICT = re.compile(r"\{(?='[^']{1,128}':)([^{}]*)\}")
_PAIR = re.compile(r"'([^']{1,128})':\s?(?:'([^']*)'|([\w.]+\([^()]*\)|[^,'\[\]()]+))(?=,|$)")


class HuggingFace:
    """Reads a flat dict in a line, also one of another program."""

    rank, needles, marks = 1, (), ("{'",)

    def __init__(self, _: frozenset[str]) -> None:
        """Take all names."""

    def read(self, line: str) -> Reading | None:
        """Read a dict's numbers."""
        found = _DICT.search(line)
        if found is None:
            return None
        pairs = ((name, number_in(text or bare)) for name, text, bare in _PAIR.findall(found[1]))
        values = [(name, number) for name, number in pairs if number is not None]
        by_name = {name: number for name, (number, _) in values}
        steps = (whole(by_name.get(name)) for name in ("step", "global_step", "epoch"))
        step = next((one for one in steps if one is not None), None)
        around = f"{line[: found.start()]} {line[found.end() :]}".strip()
        step = step_in(around) if step is None else step
        return Reading(values, step, inner=around or None) if values else None
