"""What trains a model, in its manifest: what is the same, what differs, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.evaluation.training_diff import changes, program
from hpo_lib.spec import load

CONF: dict[str, Any] = {
    "name": "nightly",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0, "high": 1}},
    "fixed": {"epochs": 40},
    "trial": {"command": ["python", "train.py"], "env": {"DATA": "a"}, "image": "trial:1"},
}
VERSIONS = {"python": "3.11.9", "train.py": "0123"}


def described(versions: object = VERSIONS, **changed: Any) -> dict[str, Any]:
    trial = CONF["trial"] | changed.pop("trial", {})
    made = program(load(CONF | changed | {"trial": trial}), {"x": 0.5}, versions)
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fixed": {"epochs": 4}}, ["fixed.epochs was 40, is 4"]),
        ({"fixed": {}}, ["fixed.epochs was 40, is not set"]),
        ({"fixed": {"epochs": 40, "l": "a"}}, ['fixed.l was not set, is "a"']),
        ({"trial": {"image": "trial:2"}}, ['image was "trial:1", is "trial:2"']),
        (
            {"trial": {"command": ["python", "other.py"]}},
            ['command was "python train.py", is "python other.py"'],
        ),
        ({"trial": {"args": ["--x=${params.x}"]}}, ['args was not set, is "--x=${params.x}"']),
        ({"trial": {"env": {"DATA": "b"}}}, ['env.DATA was "a", is "b"']),
        ({"trial": {"options": {"a": 1}}}, ["trial.options has changed"]),
        ({"versions": {"python": "3.12.1"}}, ['versions.python was "3.11.9", is "3.12.1"']),
        # Of what one side has not named nothing is known.
        ({"versions": {"torch": "2"}}, []),
        ({"versions": None}, []),
        # What changes no result.
        ({"trial": {"timeout": "9h", "resources": {"cpu": 2}, "spot": True}}, []),
        ({"limits": {"max_trials": 9}, "sampler": {"seed": 4}}, []),
        # The configuration's own value counts, not the constant that it has become.
        (
            {"space": {"y": {"type": "int", "low": 1, "high": 2}}, "fixed": {"epochs": 40, "x": 1}},
            [],
        ),
    ],
)
def test_what_has_changed_is_named(changed: dict[str, Any], said: list[str]) -> None:
    assert changes(described(), described(**changed)) == said


@given(st.text(max_size=400), st.text(max_size=400))
def test_words_differ_if_and_only_if_they_are_seen_to(one: str, other: str) -> None:
    sides = [
        described(versions={}, trial={"env": {"A": text.replace("\0", "")}})
        for text in (one, other)
    ]
    assert bool(changes(*sides)) == (one.replace("\0", "") != other.replace("\0", ""))
    assert all(len(text) < 600 for text in changes(*sides))


def test_a_long_word_is_there_by_its_beginning_and_a_digest() -> None:
    long = described(trial={"command": ["sh", "-c", "x" * 10_000]})
    assert len(long["command"][2]) < 100
    assert changes(long, described(trial={"command": ["sh", "-c", "x" * 10_001]}))


def test_few_of_many_changes_are_named() -> None:
    many = {f"k{n}": n for n in range(9)}
    assert changes(described(fixed={}), described(fixed=many))[-1] == "and 4 more"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_versions_may_be_anything(left: Any) -> None:
    made = program(load(CONF), {"x": 0.5}, left)
    assert all(one.isprintable() for one in (*made["versions"], *made["versions"].values()))
