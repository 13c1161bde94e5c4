"""YAML by version 1.2: words of 1.1 are text, and what is no plain JSON is named with its path."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment
from hpo_lib.spec import load
from hpo_lib.spec.yaml_core import Loader, dumped, operators
from hpo_lib.spec.yaml_file import from_yaml, to_yaml

TEXT = """\
name: words
objective: {metric: loss, direction: minimize}
space:
  c: {type: categorical, choices: %s}
trial: {command: [train]}
"""


def choices(written: str) -> list[Any]:
    return list(from_yaml(TEXT % written).space["c"].choices)


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        from_yaml(text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[de, fr, no]", ["de", "fr", "no"]),
        ("[1:30, 2:00]", ["1:30", "2:00"]),
        ("[190:20:30.15, 0:0]", ["190:20:30.15", "0:0"]),
        ("[on, off, yes, No, y, n]", ["on", "off", "yes", "No", "y", "n"]),
        ("[1_000, 0b1, 0x_1]", ["1_000", "0b1", "0x_1"]),
        ("[0o17, 0x1F, 12, -3, +4]", [15, 31, 12, -3, 4]),
        ("[.5, 2., 1e3, -1E-2, 1.5e+2]", [0.5, 2.0, 1000.0, -0.01, 150.0]),
        ("[1e, 0x, 1.2.3, -, .]", ["1e", "0x", "1.2.3", "-", "."]),
        ("[2024-01-01, 2024-01-01T10:00:00Z]", ["2024-01-01", "2024-01-01T10:00:00Z"]),
        ("[=, <<]", ["=", "<<"]),
        ("[true, FALSE, tRue]", [True, False, "tRue"]),
        ("['no', \"1:30\", '~', '']", ["no", "1:30", "~", ""]),
        ("[!!str 12, !!int '7', !!float 1.5]", ["12", 7, 1.5]),
    ],
)
def test_scalars_are_those_of_the_core_schema(written: str, read: list[Any]) -> None:
    found = choices(written)
    assert [(type(one), one) for one in found] == [(type(one), one) for one in read]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (".inf", "must be a finite number, got Infinity"),
        ("-.INF", "must be a finite number, got -Infinity"),
        (".NaN", "must be a finite number, got NaN"),
        ("1e400", "must be a finite number, got Infinity"),
        ("9007199254740993", "must be within +-2**53, got 9007199254740993"),
        ("9" * 401, "a whole number must have at most 400 digits, got 401"),
        ("017", "a whole number must have no 0 in front, got 017; put it in quotes if it is text"),
        ("~", "must be text, a number or true/false, got null"),
        ("!!binary aGk=", "must be plain JSON, got !!binary (line 4)"),
        ("!!set {a, b}", "must be plain JSON, got !!set (line 4)"),
        ("!!timestamp 2024-01-01", "must be plain JSON, got !!timestamp (line 4)"),
        ("!!bool yes", "must be plain JSON, got !!bool (line 4)"),
        ("!mine x", "must be plain JSON, got !mine (line 4)"),
    ],
)
def test_what_is_no_json_is_refused_with_its_path(written: str, why: str) -> None:
    assert problems(TEXT % f"[a, {written}]") == [f"space.c.choices.1: {why}"]


def test_what_is_no_json_hides_no_other_problem() -> None:
    text = (TEXT % "[.nan]") + (
        "limits: {max_trials: 0}\n"
        "fixed: {1: 2, x: !!binary aGk=, y: 2024-01-01}\n"
        "sampler: {name: random, seed: .inf}\n"
        "final: {trial: {options: {a: [{b: .nan}], 5: 6}, timeout: x}}\n"
    )
    assert {line.partition(": ")[0] for line in problems(text)} == {
        "limits.max_trials",
        "space.c.choices.0",
        "fixed.1",
        "fixed",
        "fixed.x",
        "sampler.seed",
        "final.trial.options.a.0.b",
        "final.trial.options.5",
    }


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (math.nan, "must be a finite number, got NaN"),
        (1e999, "must be a finite number, got Infinity"),
        ({1, 2}, "must be plain JSON, got 'set'"),
        (b"x", "must be plain JSON, got 'bytes'"),
        (1j, "must be plain JSON, got 'complex'"),
        ("\ud800", "must be plain JSON, got text with half a character"),
    ],
)
def test_a_conf_is_held_to_the_same(value: Any, why: str) -> None:
    conf = yaml.safe_load(TEXT % "[a]") | {"limits": {"max_trials": 0}}
    conf["trial"]["options"] = {"a": [{"b": value}]}
    with pytest.raises(SpecError) as caught:
        load(conf)
    told = str(caught.value).splitlines()
    assert sorted(line.partition(":")[0] for line in told) == [
        "limits.max_trials",
        "trial.options.a.0.b",
    ]
    assert f"trial.options.a.0.b: {why}" in told


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"x\ud800": 1}, "x?"),
        ({"fixed": {"\ud800": 1}}, "fixed.?"),
        ({"extra_metrics": ["\ud800"]}, "extra_metrics.0"),
        ({"constraints": ["\ud800 <= 1"]}, "constraints.0"),
        ({"constraints": ["'\\ud800' <= 1"]}, "constraints.0"),
        ({"trial": {"command": ["p"], "options": {"a": [{"\ud800": 1}]}}}, "trial.options.a.0.?"),
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(part: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(yaml.safe_load(TEXT % "[a]") | part)
    told = str(caught.value)
    assert f"{path}: " in told
    assert told.encode()


def test_a_conf_made_in_python_may_hold_values_of_numpy() -> None:
    conf = yaml.safe_load(TEXT % "[a]") | {
        "fixed": {"epochs": np.int64(3), "rate": np.float32(0.1), "amp": np.bool_(True)},
        "initial_points": [{"c": np.str_("a"), "n": np.array(4)}],
    }
    conf["space"]["n"] = {"type": "ordinal", "choices": 2 ** np.arange(1, 4)}
    plain = load(conf).dump()
    assert plain["fixed"] == {"epochs": 3, "rate": 0.1, "amp": True}
    assert plain["initial_points"] == [{"c": "a", "n": 4}]
    assert plain["space"]["n"]["choices"] == [2, 4, 8]
    assert same(json.loads(json.dumps(plain)), plain)
    conf["fixed"]["rate"] = np.array([1, 2])
    assert load(conf).dump()["fixed"]["rate"] == [1, 2]
    conf["fixed"]["rate"] = np.datetime64("2026-11-29")
    with pytest.raises(SpecError, match=r"^fixed\.rate: must be plain JSON, got 'datetime64'$"):
        load(conf)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[1, '1', 2]", 'choices.1: must be a number, got "1"'),
        ("[1, true]", "choices.1: must be a number, got true"),
        ("[1, null]", "choices.1: must be a number, got null"),
    ],
)
def test_the_choices_of_an_ordinal_are_told_to_be_numbers(written: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_yaml((TEXT % written).replace("categorical", "ordinal"))
    assert str(caught.value).startswith(f"space.c.{why}")


def test_what_cannot_be_read_is_shown_as_it_was_written() -> None:
    text = (TEXT % "[a]").replace("[train]", "[train], flags: {b: 01}")
    with pytest.raises(SpecError) as caught:
        from_yaml(text)
    assert str(caught.value).splitlines() == [
        "trial.flags: b must be one of true_false, 0_1, true_empty, presence, no_prefix, got 01",
        "trial.flags.b: a whole number must have no 0 in front, got 01; put it in quotes if it is "
        "text",
    ]
    with pytest.raises(SpecError) as caught:
        from_yaml((TEXT % "[a]").replace("[train]", "[01]"))
    assert str(caught.value).startswith("trial.command.0: a whole number must have no 0 in front")


def test_a_word_of_old_is_answered_with_the_words_of_today() -> None:
    spec = (TEXT % "[a]").replace("[train]}", "[train], spot: yes}")
    assert problems(spec) == ['trial.spot: must be true or false, got "yes"']


@pytest.mark.parametrize(
    "indent", [None, 2, "\t"], ids=["one line", "indented with blanks", "with tabs"]
)
def test_json_is_read_as_json(indent: Any) -> None:
    conf = yaml.safe_load(TEXT % "[no, 1:30]")
    conf |= {"description": "caf\u00e9 \U0001f600 a/b"}
    conf["space"]["c"]["choices"] = ["no", "1:30", 1e5, 0.1, "\U0001f600"]
    text = json.dumps(conf, indent=indent).replace("a/b", r"a\/b")
    spec = from_yaml(text)
    assert spec.dump() == load(conf).dump()
    assert problems(text.replace("100000.0", "1e400")) == [
        "space.c.choices.2: must be a finite number, got Infinity"
    ]
    twice = text.replace('"name"', '"name": "x", "name"', 1)
    assert problems(twice) == ['spec: must be YAML: key "name" is repeated']


_WORDS = st.sampled_from(
    [
        *("no", "off", "Yes", "y", "1:30", "1_000", "0o17", "017", "08", "0b1", "0x1F", ".5", "1."),
        *("1e3", "+.inf", ".NaN", "~", "null", "", "2024-01-01", "=", "<<", "true", "- a", "a: b"),
        *("!!binary x", "&a", "*a", "#c", "'", '"', "\u2028", "\ufeffa", "\x85", "a\n b", " a "),
    ]
)
_KEYS = (st.text() | _WORDS).filter(str.isprintable)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=8,
)


def same(left: Any, right: Any) -> bool:
    """Compare by type too: 1 is not 1.0, nor is 0 false."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@given(_JSON)
def test_any_json_comes_back_from_yaml(value: Any) -> None:
    assert same(Loader(dumped({"a": value})).document(), {"a": value})
    assert same(operators(dumped({"a": value}), at="x"), {"a": value})


@given(st.dictionaries(_KEYS, _JSON))
def test_what_a_spec_leaves_to_others_passes_unchanged(options: dict[str, Any]) -> None:
    conf = yaml.safe_load(TEXT % "[a]")
    conf["trial"] |= {"options": options, "command": ["train", "${params.c}"]}
    assume("${" not in json.dumps(options))
    spec = load(conf)
    assert same(from_yaml(to_yaml(spec)).trial.options, options)
    assert same(from_yaml(json.dumps(conf)).trial.options, options)


@given(st.text("0123456789abefnoxyNOYES_.:+-~= ", max_size=8).map(str.strip))
def test_a_word_is_read_as_it_stands_as_a_number_or_not_at_all(word: str) -> None:
    """Nothing but a number, true, false and null is taken for another value than its text."""
    try:
        found = choices(f"[{word}]")
    except SpecError:
        return
    assert found == [word] or (isinstance(found[0], int | float) and _is_number(word))


def _is_number(word: str) -> bool:
    """Say whether Python, without its underscores, takes a word for a number too."""
    try:
        return "_" not in word and isinstance(float(int(word, 0)), float)
    except ValueError:
        return math.isfinite(float(word)) and "_" not in word


def test_the_operators_file_goes_by_the_same_rules(tmp_path: Path) -> None:
    text = (
        "job: &x {kinds: [no, 1:30], namespaces: [on]}\nother: {<<: *x, namespaces: [off]}\n"
        "modes: [0o644]\n"
    )
    assert operators(text, at="x") == {
        "job": {"kinds": ["no", "1:30"], "namespaces": ["on"]},
        "other": {"kinds": ["no", "1:30"], "namespaces": ["off"]},
        "modes": [420],
    }
    path = tmp_path / "deployment.yaml"
    path.write_text("docker: {tmp: !!binary aGk=}\nartifacts: {1: x}\nmode: 0644\n")
    with pytest.raises(SpecError) as caught:
        _ = Environment(tmp_path, variables={"HPO_CONFIG": str(path)}).offers
    assert str(caught.value).splitlines() == [
        "config/deployment.yaml: docker.tmp: must be plain JSON, got !!binary (line 1)",
        "config/deployment.yaml: artifacts.1: a key must be text, got 1 (line 2); put it in quotes",
        "config/deployment.yaml: mode: a whole number must have no 0 in front, got 0644; "
        "put it in quotes if it is text",
    ]
