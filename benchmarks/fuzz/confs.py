"""Confs that are nearly right: grown from the spec's own schema, then damaged; and damaged YAML.

All chance comes from a `Random`, so a seed is a conf.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from random import Random
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from hpo_lib import registry
from hpo_lib.spec import Spec

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted(
    [*(ROOT / "config/experiments").glob("*.yaml"), *(ROOT / "config/nights").glob("*.yaml")]
)
#: With images that the oracle's lists have, so that most are admitted.
TEXTS = [
    re.sub(r"image: hpo-trial\S*?(?=[,}\s])", "image: registry.example.org/team/a:1", one)
    for one in (path.read_text(encoding="utf-8") for path in EXAMPLES)
]
SOUND: list[dict[str, Any]] = [yaml.safe_load(text) for text in TEXTS]

#: Texts that some field takes, and so others nearly.
_WORDS = (
    *(
        "x",
        "lr",
        "units",
        "loss",
        "val_loss",
        "val-loss",
        "adam",
        "sgd",
        "true",
        "no",
        "",
        "-",
        ".",
    ),
    *(
        "1h",
        "30m",
        "7d",
        "0s",
        "512Mi",
        "2G",
        "1e3Gi",
        "0 3 * * *",
        "*/5 * 31 2 *",
        "Europe/Berlin",
    ),
    *(
        "s3://bucket/a",
        "file:///tmp/x",
        "data",
        "../x",
        "/etc",
        "model",
        "python",
        "train.py",
        "sh",
    ),
    *(
        "--x=${params.x}",
        "${params.lr}",
        "${output}",
        "${nope}",
        "val_loss - loss <= 0.1",
        "a <= 1",
    ),
    *("(?P<name>\\w+)=(?P<value>\\S+)", "loss=(.+)", "registry.example.org/team/a:1", "default"),
    *registry.SAMPLERS,
    *registry.SCHEDULERS,
    *registry.COLLECTORS,
    *registry.BACKENDS,
    *registry.DEPLOYERS,
    *registry.FORMATS,
)
_NUMBERS = (0, 1, 2, 3, 7, 10, 0.5, 0.001, 1e-5, 0.1, 1.0, -1, -0.5, 100)


def _nested(depth: int) -> Any:
    found: Any = 1
    for level in range(depth):
        found = [found] if level % 2 else {"a": found}
    return found


#: What stands where nobody expects it.
ODD: tuple[Any, ...] = (
    *(None, True, False, [], {}, "", 0, -1, -0.0, 1e308, -1e308, 5e-324, 1e-300, 2**53, 2**53 + 1),
    *(2**63, 10**308, 10**400, -(10**400), 10**5000, float("nan"), float("inf"), float("-inf")),
    *(
        "\0",
        "a\0b",
        "\ud800",
        "\u2028",
        "\x1b[2J",
        "\x85",
        "\u202e",
        "\U0001f600",
        " a ",
        "\n",
        "\t",
    ),
    *("9" * 310, "9" * 310 + "Gi", "1." + "0" * 400 + "s", "0.1Ki", "2001-99-99", "1e999", "٣Gi"),
    *("${" * 500, "{{" * 500, "${params." * 200, "$(" * 300, "(" * 300, "a" * 5_000, "[" * 300),
    *("(?P<name>a)(?P<value>(b+)+)", "(?i)[!-\uffff]" * 20, "x" * 200 + "=", "-" * 300, "a-" * 99),
    *("* * * * *", "0 0 30 2 *", "59 23 31 12 6", "99 * * * *", "s3://" + "a/" * 200, "'" * 200),
    *(
        [1, "1", True],
        [[]],
        [{}],
        {"": ""},
        {"a.b": 1},
        {"\n": 1},
        {"\0": 1},
        {"\ud800": 1},
        {1: 2},
    ),
    *({None: 1}, {True: 1}, {"x" * 3_000: 1}, _nested(40), _nested(70), _nested(150), ["a"] * 500),
    *({f"k{n}": n for n in range(300)}, list(range(3_000)), {"type": "float"}, {"type": []}),
    *({"type": "float", "low": -1e308, "high": 1e308}, {"type": "int", "low": 0, "high": 10**400}),
    *(
        {"type": "float", "low": 0, "high": 1e308, "step": 5e-324},
        {"type": "float", "low": 0},
    ),
    *({"type": "float", "low": 1.0, "high": 2.0, "step": float("nan")},),
)
#: Bits of YAML that are more than text.
_TOKENS = (
    *(
        "&a ",
        "*a",
        "<<: ",
        "!!binary ",
        "!!python/object:x ",
        "!x ",
        "? ",
        "| ",
        ">-\n",
        "- ",
        ": ",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        "#",
        "'",
        '"',
        "\\",
        "\t",
        "\n",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "~",
    ),
    *(".nan", "-.inf", "2001-99-99", "0x", "017", "1_000", "1:30", "1e999", "9" * 320, "${", "\0"),
    *(
        "\u2028",
        "\x85",
        "\ufeff",
        "\x07",
        "é",
        "yes",
        "null",
        "@",
        "`",
        "a: " * 40,
        "[" * 90,
        "{a: " * 90,
    ),
)


def copied(value: Any) -> Any:
    """Copy a value; one that is nested deep only this way, and not deeper than this."""
    return pickle.loads(pickle.dumps(value))


def conf(random: Random) -> Any:
    """Make a conf: a sound one, or one grown of the schema, with some damage, rarely very deep."""
    made = _conf(random)
    if isinstance(made, dict) and random.random() < 0.01:
        made[_word(random)] = _nested(random.choice((500, 900, 20_000)))
    return made


def _conf(random: Random) -> Any:
    made = copied(random.choice(SOUND))
    for name, field in Spec.model_fields.items():
        if random.random() < 0.04:
            made[field.alias or name] = grown(random, field.annotation)
    if random.random() < 0.2:
        made["space"] = {f"p{n}": _parameter(random) for n in range(random.randrange(1, 6))}
    if random.random() < 0.2 and isinstance(made.get("trial"), dict):
        made["trial"]["options"] = _options(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        made = _damaged(random, made)
    return made


def text(random: Random) -> str:
    """Make the text of a file: an example, or a conf as YAML or JSON, with some damage."""
    if random.random() < 0.7:
        made = random.choice(TEXTS)
    else:
        made = json.dumps(_plain(_conf(random)), default=str)
    for _ in range(random.choice((0, 1, 2, 4, 8))):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((0, 1, 1, 5, 40)))
        made = made[:at] + _spliced(random, made, at, end) + made[end:]
    return made


def _spliced(random: Random, made: str, at: int, end: int) -> str:
    match random.randrange(5):
        case 0:
            return random.choice(_TOKENS)
        case 1:
            return random.choice(_TOKENS) * random.choice((2, 10, 300))
        case 2:
            return made[at:end] * random.choice((2, 3, 50))
        case 3:
            return chr(random.choice((random.randrange(0x80), random.randrange(0xD800))))
    start = random.randrange(len(made) + 1)
    return made[start : start + random.randrange(80)]


def _plain(value: Any) -> Any:
    """Give keys that JSON can write."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return 10**300 if isinstance(value, int) and abs(value) > 10**4000 else value


def grown(random: Random, annotation: Any) -> Any:
    """Make a value of a type, of a pydantic model too, that is mostly right."""
    if random.random() < 0.04:
        return copied(random.choice(ODD))
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return grown(random, inner[0])
    if origin in (Union, UnionType):
        return grown(random, random.choice(inner))
    if origin is Literal:
        return random.choice(inner)
    if origin in (tuple, list, Sequence):
        return [grown(random, inner[0]) for _ in range(random.randrange(4))] if inner else []
    if origin in (dict, Mapping):
        return {_word(random): grown(random, inner[1]) for _ in range(random.randrange(4))}
    if isinstance(annotation, type):
        return _of_class(random, annotation)
    return _anything(random)


def _of_class(random: Random, kind: type) -> Any:
    if issubclass(kind, BaseModel):
        asked = {
            field.alias or name: field
            for name, field in kind.model_fields.items()
            if field.is_required() or random.random() < 0.4
        }
        return {name: grown(random, field.annotation) for name, field in asked.items()}
    if issubclass(kind, Enum):
        return random.choice([one.value for one in kind])
    makers: Mapping[type, Callable[[Random], Any]] = {
        bool: lambda r: r.random() < 0.5,
        int: lambda r: r.choice((0, 1, 2, 3, 5, 10, 100)),
        float: lambda r: r.choice(_NUMBERS),
        str: _word,
        type(None): lambda _: None,
    }
    return makers.get(kind, _anything)(random)


def _word(random: Random) -> str:
    return random.choice(_WORDS)


def _anything(random: Random) -> Any:
    return random.choice((_word(random), random.choice(_NUMBERS), True, [_word(random)], {}))


def _parameter(random: Random) -> dict[str, Any]:
    low, high = sorted(random.choices(_NUMBERS, k=2))
    kind = random.choice(("float", "int", "categorical", "ordinal"))
    made: dict[str, Any] = {"type": kind}
    if kind in ("float", "int"):
        made |= {"low": low, "high": high}
        made |= {"step": random.choice(_NUMBERS)} if random.random() < 0.3 else {}
        made |= {"scale": random.choice(("log", "linear", "reverse_log"))}
    else:
        made["choices"] = random.choice(([1, 2, 3], ["a", "b"], [True, False], [0.1, 0.2], ["no"]))
    if random.random() < 0.3:
        made["when"] = {f"p{random.randrange(4)}": [random.choice((1, 2, "a", True, 0.1))]}
    return made


def _options(random: Random) -> Any:
    name = random.choice(list(registry.BACKENDS))
    return grown(random, registry.load("backend", name).Options)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if len(path) > 12:
        return
    if isinstance(value, dict):
        for name, inner in list(value.items())[:60]:
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:20]):
            yield from _places(inner, (*path, index))


def _damaged(random: Random, made: Any) -> Any:
    """Change one place of a conf."""
    *way, last = random.choice(list(_places(made))) or (None,)
    if last is None:
        return copied(random.choice(ODD)) if random.random() < 0.1 else made
    around = made
    for step in way:
        around = around[step]
    around[last] = _instead(random, around[last], made)
    if isinstance(around, dict) and random.random() < 0.3:
        name = random.choice(
            (_word(random), str(last)[:-1], str(last).upper(), 7, "\ud800", "a\n: b")
        )
        around[name] = around.pop(last)
    return made


def _instead(random: Random, value: Any, made: Any) -> Any:
    match random.randrange(6):
        case 0 | 1:
            return copied(random.choice(ODD))
        case 2:
            return _anything(random)
        case 3 if isinstance(value, str):
            return value * random.choice((2, 30, 2_000))
        case 3 if isinstance(value, list):
            return value * random.choice((2, 30, 300))
        case 4:
            return [value] if random.random() < 0.5 else {_word(random): value}
    other: Any = made
    for step in random.choice(list(_places(made))):
        other = other[step]
    return copied(other) if len(pickle.dumps(other)) < 5_000 else value
