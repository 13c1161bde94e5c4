"""What a conf of much costs: CPU time in proportion to its size, and never more than so much."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_lib.collectors import Source
from hpo_lib.collectors.stdout import StdoutCollector
from hpo_lib.core.space import Space
from hpo_lib.errors import SpecError
from hpo_lib.search import engine
from hpo_lib.spec.draft import draft
from hpo_lib.spec.sections import Metrics
from hpo_lib.spec.yaml_file import draft_of

LARGE = 240_000
#: Seconds of CPU time that a conf may take whatever its size, and those that none may exceed: some
#: ten times what they take on a slow machine. What grew with the square took 20 and more.
START_S, MOST_S = 0.25, 8.0

BASE: dict[str, Any] = {
    "name": "x",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0, "high": 1}},
    "trial": {"command": ["python", "t.py"]},
}
X: dict[str, Any] = BASE["space"]["x"]


def trial(**keys: Any) -> dict[str, Any]:
    return BASE | {"trial": BASE["trial"] | keys}


def filled(make: Callable[[int], Any], size: int) -> list[Any]:
    """Make as many things as fill so many characters."""
    return [make(number) for number in range(size // (len(json.dumps(make(10_000))) + 2))]


def choices_and_points(size: int) -> dict[str, Any]:
    space = {"x": {"type": "categorical", "choices": list(range(min(size // 16, 9_000)))}}
    return BASE | {"space": space, "initial_points": [{"x": n} for n in range(size // 250)]}


def choices_and_conditions(size: int) -> dict[str, Any]:
    listed = list(range(min(size // 16, 9_000)))
    child = X | {"when": {"x": listed[::-1]}}
    return BASE | {"space": {"x": {"type": "categorical", "choices": listed}, "y": child}}


def points_of_children(size: int) -> dict[str, Any]:
    space = {"x": {"type": "int", "low": 0, "high": 10**6}}
    space |= {f"y{n}": X | {"when": {"x": [1]}} for n in range(199)}
    return BASE | {"space": space, "initial_points": [{"x": n + 2} for n in range(size // 250)]}


def flags(size: int) -> dict[str, Any]:
    fixed = {f"a{n}": True for n in range(size // 250)}
    spelled = dict(filled(lambda n: (f"b{n}", "presence"), size // 2))
    return trial(flags=spelled) | {"fixed": fixed}


def unknown_keys(size: int) -> dict[str, Any]:
    keys = {f"kq{n}": 1 for n in range(size // 3_000)}
    return BASE | {"space": {f"a{n}": X | keys for n in range(200)}}


def definitions(size: int) -> dict[str, Any]:
    form = "(?i)(b)" + "[!-\uffff]" * (size // 3_000)
    listed = [{"name": f"a{n}", "regex": form + str(n)} for n in range(40)]
    return BASE | {"metrics": {"metric_definitions": listed}}


CONFS: dict[str, Callable[[int], Any]] = {
    "open placeholders": lambda size: trial(command=["python", "${" * (size // 2)]),
    "open parameters": lambda size: trial(command=["python", "--a=${params." * (size // 13)]),
    "open placeholders in options": lambda size: trial(options={"a": "${" * (size // 2)}),
    "unknown placeholders": lambda size: trial(command=filled(lambda n: f"${{a{n}}}", size)),
    "choices and points": choices_and_points,
    "choices and conditions": choices_and_conditions,
    "points and conditions": points_of_children,
    "constants of a wrong type": lambda size: (
        BASE | {"fixed": {f"a{n}": [] for n in range(size // 12)}}
    ),
    "parameters without a type": lambda size: (
        BASE | {"space": {f"a{n}": {} for n in range(size // 12)}}
    ),
    "parameters of a wrong type": lambda size: (
        BASE | {"space": dict(filled(lambda n: (f"a{n}", {"type": f"q{n}"}), size))}
    ),
    "unknown keys": unknown_keys,
    "unknown settings": lambda size: (
        BASE | {"sampler": {"name": "random"} | {f"a{n}": 1 for n in range(size // 12)}}
    ),
    "flags of nothing": flags,
    "wrong choices": lambda size: (
        BASE | {"space": {"x": {"type": "ordinal", "choices": [[]] * (size // 4)}}}
    ),
    "guards": lambda size: (
        BASE | {"deploy": {"to": "package", "guards": [{"metric": "a"}] * (size // 16)}}
    ),
    "values": lambda size: trial(options={"a": [1] * (size // 3)}),
    "regular expressions": definitions,
}


def cpu_s(work: Callable[[Any], object], given: Any) -> float:
    began = time.process_time()
    try:
        work(given)
    except SpecError as error:
        assert len(str(error)) < 30_000  # noqa: PT017 - it may be raised, or not
    return time.process_time() - began


def read(conf: Any) -> None:
    made = draft(conf)
    spec = made.found(engine.problems(made)).checked()
    spec.notes()
    _ = spec.digest


def is_cheap(work: Callable[[Any], object], make: Callable[[int], Any]) -> None:
    """Fail if it takes long, or if four times as much takes more than some four times as long.

    Each time of three: what is slow is, while the garbage of other tests is collected now and then.
    """
    cpu_s(work, make(4_000))  # what is imported
    for _ in range(3):
        quarter, whole = cpu_s(work, make(LARGE // 4)), cpu_s(work, make(LARGE))
        if whole < min(MOST_S, 8 * quarter + START_S):
            return
    pytest.fail(f"{whole:.2f} s of CPU, {quarter:.2f} s for a quarter of it")


@pytest.mark.parametrize("name", CONFS)
def test_a_large_conf_is_read_soon(name: str) -> None:
    is_cheap(read, CONFS[name])


@pytest.mark.parametrize(
    "unit",
    [
        *("[", "{", "{a: ", "[a, ", "- ", "? ", "- a\n", "a:\n", "a: b\n", "[a]:\n", "?\n", "x: '"),
        *("&a ", "!!a\n", "# c\n", "---\n", "a\n", "\u2028", "%TAG !a! b\n", "| ", "a, ", "1: 1\n"),
    ],
)
def test_a_large_file_is_read_soon(unit: str) -> None:
    is_cheap(
        lambda text: draft_of(text).checked(),
        lambda size: unit * (size // len(unit.encode())),
    )


#: What one line may repeat: values of the names below, what hardly is one, and words of formats.
IN_LINES = [
    *("loss=1 ", "loss: 1 ", "val_loss=1 size_mb=1 ", "val loss=1 ", "step=1 ", "epoch: 1 loss=1 "),
    *(
        "loss = ",
        "loss=1,",
        '"loss": 1, ',
        '{"loss": 1}',
        "{'loss': 1} ",
        "loss=[1 ",
        "loss=np.float64(",
    ),
    *(
        "Epoch 1/2 ",
        "best Epoch 1 ",
        "[1] loss:1 ",
        "loss|",
        "100%|",
        "loss=nan",
        "a.loss=1 ",
        "=",
        ":",
    ),
    *(
        "loss=1e",
        "loss=1_",
        "loss='",
        "loss=1/",
        "\r",
        "\x1b[0m",
        "[",
        "{",
        "(",
        "- loss: 1 - ",
        "a1=1 ",
    ),
]


#: Longer ones are cut.
LINE = 65_000


@pytest.mark.parametrize("unit", IN_LINES)
def test_a_long_line_is_read_soon(unit: str, tmp_path: Path) -> None:
    def read_file(text: str) -> None:
        log = tmp_path / "log"
        log.write_text(f"{text}\n", encoding="utf-8")
        collector = StdoutCollector(Metrics())
        for _ in collector.collect(Source(log, tmp_path), frozenset({"loss", "val_loss", "step"})):
            pass
        for _ in collector.sightings(Source(log, tmp_path)):
            pass

    is_cheap(read_file, lambda size: unit * (size * LINE // LARGE // len(unit)))


def test_a_space_of_many_branches_is_counted_soon_or_not_at_all() -> None:
    flag = {"type": "categorical", "choices": [0, 1]}
    parents = {f"p{n}": flag for n in range(16)}
    children = {f"c{n}": flag | {"when": {f"p{n}": [0]}} for n in range(16)}
    others = {f"d{n}": flag for n in range(168)}
    began = time.process_time()
    assert Space.parse({**parents, **children, **others}).size is None
    assert time.process_time() - began < MOST_S
