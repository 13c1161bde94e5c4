"""Values that nobody expects: each is a refusal with its path, in few and short lines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.errors import SpecError
from hpo_lib.spec import load
from hpo_lib.spec.yaml_file import from_yaml
from hpo_lib.validation import reading, refusal, shown
from tests.unit.test_sizes import BASE, X, trial


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found
    return found


def x(**keys: Any) -> dict[str, Any]:
    return BASE | {"space": {"x": X | keys}}


REFUSED: dict[str, tuple[Any, str]] = {
    "memory of 310 digits": (
        trial(resources={"memory": "9" * 310}),
        "trial.resources.memory: must be at most 1024Ti, got",
    ),
    "digits of another script": (
        trial(resources={"memory": "\u0663Gi"}),
        "trial.resources.memory: must be an amount such as",
    ),
    "a step too small to count": (
        x(low=0, high=1e308, step=5e-324),
        "space.x: must have at most 2**50 values, got low=0.0, high=1e+308, step=5e-324",
    ),
    "a number of 400 digits": (x(high=10**400), "space.x.high: must be a finite number, got 1000"),
    "a number of 5,000 digits": (
        trial(options={"a": [10**5_000]}),
        "spec: must be plain JSON: Exceeds the limit",
    ),
    "no number": (x(high=math.nan), "space.x.high: must be a finite number, got NaN"),
    "500 levels": (
        trial(options={"a": nested(500)}),
        "trial.options: must be nested at most 64 deep, got more",
    ),
    "what holds itself": (trial(options=endless()), "trial.options: must be nested at most 64"),
    "too many values": (
        trial(options={"a": [1] * 20_000}),
        "spec: must hold at most 20,000 values, got more",
    ),
    "a key that is no text": (
        trial(options={1: 2}),
        "trial.options.1: a key must be text, got 1; put it in quotes",
    ),
    "many parameters": (
        BASE | {"space": {f"x{n}": X for n in range(201)}},
        "space: must hold at most 200, got 201",
    ),
    "many constants": (
        BASE | {"fixed": {f"x{n}": 1 for n in range(1_001)}},
        "fixed: must hold at most 1,000, got 1,001",
    ),
    "many points": (
        BASE | {"initial_points": [{"x": 0.5}] * 1_001},
        "initial_points: must hold at most 1,000, got 1,001",
    ),
    "many metrics": (
        BASE | {"extra_metrics": ["a"] * 1_001},
        "extra_metrics: must hold at most 1,000, got 1,001",
    ),
    "many classes of many characters": (
        BASE | {"metrics": {"format": "(?P<name>a)(?P<value>b)" + "[a-\uffff]" * 11}},
        "metrics.format: must have at most 10 classes such as [a-z] beside characters beyond",
    ),
    "a path with a break": (
        trial(options={"a\nb": 1}),
        "trial.options.a\\nb: a key must be at most 320 printable characters, got",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_expects_is_refused_with_its_path(case: str) -> None:
    conf, line = REFUSED[case]
    with pytest.raises(SpecError) as caught:
        load(conf)
    (told,) = str(caught.value).split("\n")
    assert told.startswith(line)
    assert told.isprintable()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("schedule: 2001-99-99\n", 'schedule: must be a mapping, got "2001-99-99"'),
        ("name: " + "[" * 500 + "]" * 500, "spec: must be nested at most 64 deep, got more"),
        ('{"name": ' + "[" * 500 + "]" * 500 + "}", "name: must be nested at most 64 deep"),
        ('{"name": ' + "[" * 99_999 + "]" * 99_999 + "}", "spec: must be nested at most 64 deep"),
        ("name: \ud800", "spec: must be YAML: "),
        ("*a : x\n", "spec: must be YAML: aliases are not allowed (line 1)"),
        ("name: a\0b", "spec: must be YAML: "),
        ("name: " + "9" * 5_000, "name: a whole number must have at most 400 digits, got 5,000"),
        ('{"name": "a", "name": "b"}', 'spec: must be YAML: key "name" is repeated'),
        ("a\u2028b", 'spec: must be a mapping, got "a\\u2028b"'),
    ],
    ids=[
        *("date", "deep YAML", "deep JSON", "deepest", "half", "alias", "NUL", "digits", "twice"),
        "line separator",
    ],
)
def test_a_file_of_such_values_is_refused_with_its_path(text: str, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_yaml(text)
    assert any(told.startswith(line) for told in str(caught.value).split("\n"))


def test_a_refusal_is_a_few_short_lines() -> None:
    said = str(refusal(f"a.{n}: {'x' * 5_000}\n\x1b" for n in range(70))).split("\n")
    assert len(said) == 41
    assert said[-1] == "spec: has 30 further problems"
    assert max(map(len, said)) < 620
    assert all(line.isprintable() for line in said)


@given(st.recursive(st.text() | st.characters(), lambda inner: st.lists(inner, max_size=3)))
def test_a_value_is_shown_on_one_line_that_can_be_read(value: Any) -> None:
    assert shown(value).isprintable()


def test_the_rule_behind_a_long_path_is_told() -> None:
    for letter in ("x", "\u2028"):
        with pytest.raises(SpecError) as caught:
            load(trial(options={letter * 5_000: 1}))
        assert "…: a key must be at most 320 printable characters, got" in str(caught.value)
        assert len(str(caught.value)) < 620


def test_what_no_check_foresaw_is_a_refusal_and_is_logged(caplog: Any) -> None:
    with pytest.raises(SpecError, match=r"^spec: cannot be read, .*: KeyError: 'a'$"), reading():
        raise KeyError("a")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError(), SpecError("a: b")])
def test_what_the_world_does_is_no_refusal(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, reading():
        raise error
    assert caught.value is error


def test_a_file_that_no_check_foresaw_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpo_lib.cli.main import main
    from hpo_lib.search import engine

    def fail(_: object) -> list[str]:
        raise ZeroDivisionError("gap")

    monkeypatch.setattr(engine, "problems", fail)
    (tmp_path / "a.yaml").write_text(json.dumps(BASE))
    assert main(["validate", str(tmp_path / "a.yaml")]) == 2
    said = capsys.readouterr().err
    assert "a.yaml: spec: cannot be read, which no check foresaw: ZeroDivisionError: gap" in said
