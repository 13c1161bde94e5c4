"""Whether a script takes the flags that a spec tells it, as far as its text says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpo_lib.errors import nearest
from hpo_lib.spec.model import Spec
from hpo_lib.spec.script_flags import Script, joined


def unfit(spec: Spec, script: Script, file: str, at: int) -> Iterator[str]:
    """Yield what the script does not take, and what it needs and is not told, a line each.

    `at` is the place of the script in the command. Nothing is said of a script that may take other
    flags than those that can be read.
    """
    if not script.complete:
        return
    told = _told(spec, spec.trial.words[at + 1 :])
    known = [one.word for one in script.flags if one.word]
    for word in told:
        if not script.takes(word):
            yield f"{file} takes no {word}{_meant(word, script, known)}; it takes {_list(known)}"
    for one in script.flags:
        if one.required and one.word and not {one.word, *one.words} & set(told):
            yield f"{file} needs {one.word}, which nothing tells it"


def _told(spec: Spec, words: Sequence[str]) -> list[str]:
    """Name the flags among the words, and those that are appended."""
    own = words[: words.index("--")] if "--" in words else words
    flags = [one.partition("=")[0] for one in own if one.startswith("--") and "${" not in one[:4]]
    added = [f"--{name}" for name in (*spec.space, *spec.fixed)] if spec.trial.appends else []
    return list(dict.fromkeys([*flags, *added]))


def _meant(word: str, script: Script, known: Sequence[str]) -> str:
    """Name the flag that is meant: the same word written otherwise, else the nearest."""
    same = script.flag(joined(word))
    return f", did you mean {same.word!r}?" if same and same.word else nearest(word, known)


def _list(known: Sequence[str]) -> str:
    return ", ".join(known) or "no flags"
