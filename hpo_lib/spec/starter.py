"""A first spec for a script: put together of its flags and of what a user says, and written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_lib.core.space import Space
from hpo_lib.errors import SpecError, nearest
from hpo_lib.spec.flags import Spelling
from hpo_lib.spec.script_flags import Flag, Script, joined
from hpo_lib.spec.space_words import parameter
from hpo_lib.validation import shown, told

#: Parts of metrics' names that say which way is better.
_MORE = ("acc", "auc", "f1", "precision", "recall", "r2", "mcc", "score", "iou", "dice", "bleu")
_LESS = ("loss", "err", "mse", "mae", "rmse", "mape", "nll", "perplexity", "deviance")
_PLAIN = re.compile(r"[A-Za-z_./][\w./+-]*")
#: Words in names of what a search would make of more, or of elsewhere, and not of better: how long
#: a script trains, where things lie, how it runs and what it says.
_NOT_THE_MODELS = re.compile(
    "(epoch|step|iter|iteration|round|budget|interval|every|seed|verbose|verbosity|quiet|silent|"
    "debug|progress|plot|show|save|resume|worker|job|thread|process|processes|cpu|gpu|cuda|mps|"
    "device|host|port|dir|directory|path|folder|file|filename|root|cache|dataset|checkpoint|ckpt)s?"
)
#: Words beside those that make a parameter of the model of it after all.
_ALL_THE_SAME = {"warmup", "decay", "accumulation", "patience", "size"}
#: Words that some reader of YAML takes for something else than text.
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user wants of a script: `words` are parameters such as `lr=1e-5..0.1:log`.

    `file` is the script as the command names it, `place` has a `venv` or a `python`.
    """

    name: str
    file: str
    metric: str
    direction: str
    words: Sequence[str]
    trials: int = 20
    parallel: int = 2
    place: Mapping[str, str] = field(default_factory=dict)


def better(metric: str) -> str:
    """Guess from its name which way a metric is better; empty if it does not say."""
    name = metric.lower()
    if any(part in name for part in _LESS):
        return "minimize"
    return "maximize" if any(part in name for part in _MORE) else ""


def offer(flag: Flag) -> str:
    """Offer a range or choices for a flag, as a word says them; empty if nothing is known."""
    if flag.choices:
        return ",".join(map(str, flag.choices))
    if flag.kind is bool:
        return "true,false"
    default = flag.default
    if type(default) not in (int, float) or not 0 < default < math.inf:
        return ""
    if flag.kind is int and type(default) is int:
        return f"{max(1, default // 2)}..{default * 2}"
    return f"{default / 10:.4g}..{default * 10:.4g}:log" if flag.kind is float else ""


def stays(flag: Flag) -> bool:
    """Say whether a flag keeps the script's own value unless somebody asks for it: epochs, say."""
    name = flag.key.lower()
    words = name.split("_")
    if name in ("random_state", "data", "local_rank", "dry_run"):
        return True
    return any(map(_NOT_THE_MODELS.fullmatch, words)) and not _ALL_THE_SAME.intersection(words)


def needed(script: Script, words: Sequence[str]) -> list[Flag]:
    """Give the flags that a script has to be told, and that no word names."""
    named = {joined(word.partition("=")[0]) for word in words}
    return [one for one in script.flags if one.required and one.key not in named]


def spec(asked: Asked, script: Script) -> dict[str, Any]:
    """Put a spec together; SpecError tells every parameter that the script does not take."""
    names = [joined(word.partition("=")[0]) for word in asked.words]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems = [f"space.{name}: is said twice" for name in twice]
    space, fixed = dict[str, Any](), dict[str, Any]()
    for word in asked.words:
        try:
            name, made = _read(word, script, asked.file)
            (space if isinstance(made, dict) else fixed)[name] = made
        except SpecError as error:
            problems.append(str(error))
    problems += [_missing(one, asked.file) for one in needed(script, asked.words)]
    if not problems and not space:
        problems.append("space: must have a parameter, such as lr=1e-5..0.1:log")
    problems += [] if problems else told(Space.parse, space)
    if problems:
        raise SpecError("\n".join(problems))
    return _document(asked, script, space, fixed)


def _read(word: str, script: Script, file: str) -> tuple[str, Any]:
    name, equals, said = word.partition("=")
    flag = script.flag(name)
    if flag is None and script.complete:
        known = [one.word or one.name for one in script.flags]
        short = [one for one in known if _initials(one) == name.lower()]
        hint = f", did you mean {short[0]!r}?" if short else nearest(f"--{name}", known)
        raise SpecError(f"space.{name}: {file} does not take it{hint}; it takes {', '.join(known)}")
    if flag is not None and not equals:
        said = offer(flag)
        if not said:
            raise SpecError(f"space.{name}: {file} does not say its choices, name a range or some")
    made = parameter(name, said, flag.kind if flag else None)
    if flag is not None and flag.choices:
        _check_choices(name, made, flag, file)
    return name, made


def _initials(word: str) -> str:
    """Give what people call `--learning-rate` for short."""
    return "".join(part[:1] for part in joined(word).split("_"))


def _check_choices(name: str, made: Any, flag: Flag, file: str) -> None:
    """Refuse what is none of the script's own choices."""
    given = made.get("choices", ()) if isinstance(made, dict) else [made]
    known = [str(one) for one in flag.choices]
    wrong = [one for one in given if one not in flag.choices and str(one) not in known]
    if wrong or (isinstance(made, dict) and not given):
        got = ", ".join(shown(one) for one in wrong) or "a range"
        raise SpecError(f"space.{name}: {file} takes {', '.join(known)}, got {got}")


def _missing(flag: Flag, file: str) -> str:
    begin = f"space: {file} needs {flag.word or flag.name}; add"
    if stays(flag):
        return f"{begin} {flag.name}=VALUE"
    said = offer(flag) or "LOW..HIGH"
    return f"{begin} {flag.name}={said}, or {flag.name}=VALUE for a constant"


def _document(
    asked: Asked, script: Script, space: Mapping[str, Any], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    size = Space.parse(space).size
    trials = asked.trials if size is None else min(asked.trials, size)
    trial: dict[str, Any] = {"command": ["python", asked.file]}
    words = _arguments(script, [*space, *fixed])
    if words:
        trial["args"] = words
    if told := _spellings(script, [*space, *fixed]):
        trial["flags"] = told
    made: dict[str, Any] = {
        "name": asked.name,
        "objective": {"metric": asked.metric, "direction": asked.direction},
        "space": dict(space),
    }
    made |= {"fixed": dict(fixed)} if fixed else {}
    limits = {"max_trials": trials, "parallel_trials": min(asked.parallel, trials)}
    return {**made, "limits": limits, "trial": {**trial, **asked.place}}


def _arguments(script: Script, names: Sequence[str]) -> list[str]:
    """Say how each parameter is told; [] if all are told as they are called."""
    words = {name: _word(script.flag(name), name) for name in names}
    if all(word == f"--{name}" for name, word in words.items()):
        return []
    ordered = sorted(words.items(), key=lambda one: _place(script, one[0]))
    return [
        f"{word}=${{params.{name}}}" if word else f"${{params.{name}}}" for name, word in ordered
    ]


def _word(flag: Flag | None, name: str) -> str:
    return f"--{name}" if flag is None else flag.word


def _place(script: Script, name: str) -> int:
    """Put what has no name of its own last, in the script's order."""
    flag = script.flag(name)
    return 0 if flag is None or flag.word else 1 + script.flags.index(flag)


def _spellings(script: Script, names: Sequence[str]) -> dict[str, str]:
    flags = ((name, script.flag(name)) for name in names)
    spelled = {name: flag.spelling for name, flag in flags if flag is not None and flag.spelling}
    return {name: str(one) for name, one in spelled.items() if one is not Spelling.TRUE_FALSE}


# The file


def written(document: Mapping[str, Any], script: str, file: str, notes: Sequence[str] = ()) -> str:
    """Write a spec as a short file with comments, `notes` on its space, that reads as that spec."""
    return "\n".join([*_lines(document, script, file, notes), ""])


def on_space(document: Mapping[str, Any], script: Script) -> list[str]:
    """Say which flags keep the script's own value, and how one of them would be searched."""
    named = {joined(name) for part in ("space", "fixed") for name in document.get(part, ())}
    left = [one for one in script.flags if stays(one) and one.key not in named]
    ranges = [one for one in left if type(one.default) in (int, float) and offer(one)]
    if not ranges:
        return []
    first = ranges[0]
    told = f"{first.word}=" if first.word else ""
    word = _flow(f"{told}${{params.{first.name}}}")
    more = f"  # and in trial.args: {word}" if "args" in document["trial"] else ""
    kept = ", ".join(f"{_text(one.name)} {_flow(one.default)}" for one in ranges)
    return [
        f"left as the script has it: {kept}; to search one, put it here like this:",
        f"{_text(first.name)}: {_flow(parameter(first.name, offer(first), first.kind))}{more}",
    ]


def _lines(
    document: Mapping[str, Any], script: str, file: str, notes: Sequence[str]
) -> Iterator[str]:
    yield f"# Made by hpo init for {script}. Next: hpo try {file}, then hpo run {file}"
    yield f"name: {_text(document['name'])}"
    yield f"objective: {_flow(document['objective'])}  # as the script prints it"
    yield "space:  # what is searched: float, int, categorical (any choices), ordinal (numbers)"
    for name, one in document["space"].items():
        yield f"  {_text(name)}: {_flow(one)}"
    yield from (f"  # {note}" for note in notes)
    if "fixed" in document:
        yield f"fixed: {_flow(document['fixed'])}  # the same for every trial"
    yield f"limits: {_flow(document['limits'])}"
    yield "trial:"
    for name, one in document["trial"].items():
        comment = "  # every parameter follows as --name=value" if name == "command" else ""
        yield f"  {name}: {_flow(one)}{'' if 'args' in document['trial'] else comment}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(name)}: {_flow(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower().strip(".") not in _NOT_TEXT
    if plain and text.strip("._-"):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)
