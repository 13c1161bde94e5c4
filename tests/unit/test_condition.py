"""Conditions: what they say of a resource, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.backends.condition import Condition
from hpo_lib.errors import SpecError

STATUS: dict[str, Any] = {
    "metadata": {"annotations": {"a.b/c": "x y"}},
    "status": {
        "succeeded": 2,
        "share": 0.5,
        "ready": True,
        "phase": "Running",
        "none": [],
        "conditions": [
            {"type": "Started", "status": "True", "reason": "Begun"},
            {"type": "Complete", "status": "True", "reason": "Finished"},
            {"type": "Failed", "status": "False"},
        ],
    },
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("status.conditions[type=Complete].status == True", True),
        ("status.conditions[type=Failed].status == True", False),
        ("status.conditions[type=Failed].status != True", True),
        # What is not there says nothing, not even that it is different.
        ("status.conditions[type=Suspended].status != True", False),
        ("status.conditions[type=Complete][status=True]", True),
        ("status.conditions[type=Failed][status=True]", False),
        ("status.conditions[status=True].reason == Begun", True),
        ("status.succeeded >= 2", True),
        ("status.succeeded > 10", False),
        ("status.succeeded == 2.0", True),
        ("status.share == 0.5 and status.share < 0.75", True),
        ("status.share > 0.75 or status.ready", True),
        ("status.ready == true", True),
        ("status.ready==False", False),
        ("status.phase", True),
        ("status.none", False),
        ("status.nothing.below", False),
        ("status.phase.below", False),
        ("status.phase[type=x]", False),
        ("status.conditions == x", False),
        # `and` binds more tightly.
        ("status.phase or status.nothing and status.none", True),
        ('metadata.annotations."a.b/c" == "x y"', True),
        ('status.phase == "Run\\ning"', True),
    ],
)
def test_a_condition_holds_or_not(text: str, holds: bool) -> None:
    assert Condition.parse(text).holds(STATUS) is holds


def test_nothing_holds_of_a_resource_that_says_nothing() -> None:
    assert not Condition.parse("status.succeeded != 1 or status.phase != x").holds({})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'the end' is there where a name is expected"),
        ("status.", "'the end' is there where a name is expected"),
        ("status ==", "'the end' is there where a value is expected"),
        ("status == == x", "'==' is there where a value is expected"),
        ("status.conditions[type]", "']' is there where '=' is expected"),
        ("status.conditions[type=x", "'the end' is there where ']' is expected"),
        ("status.phase = x", "'=' was not expected"),
        ("status.phase == x y", "'y' was not expected"),
        ("status.phase and", "'the end' is there where a name is expected"),
        ('status.conditions.#(type=="Failed")#', "'#(type==\"Failed\")#' cannot be read"),
        ('status == "x', "cannot be read"),
        ("__import__(x)", "'(x)' cannot be read"),
        ("a" * 501, "must be at most 500 characters, got 501"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        Condition.parse(text)
    assert why in str(caught.value)


NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() == text)
SCALARS = st.booleans() | st.integers(-(10**6), 10**6) | NAMES


def quoted(text: object) -> str:
    """Write any text so that it is read back."""
    plain = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


@given(st.lists(NAMES, min_size=1, max_size=4), SCALARS)
def test_whatever_lies_at_a_path_is_equal_to_itself(path: list[str], value: Any) -> None:
    resource: Any = value
    for name in reversed(path):
        resource = {name: resource}
    at = ".".join(quoted(name) for name in path)
    assert Condition.parse(f"{at} == {quoted(value)}").holds(resource)
    assert not Condition.parse(f"{at} != {quoted(value)}").holds(resource)
    assert not Condition.parse(f"{at} == {quoted(f'{value}!')}").holds(resource)


@given(NAMES, st.lists(st.tuples(NAMES, st.integers()), min_size=1, max_size=4))
def test_a_choice_finds_every_object_with_that_value(key: str, items: list[Any]) -> None:
    resource = {"items": [{key: name, "n" + key: number} for name, number in items]}
    for name, number in items:
        text = f"items[{quoted(key)}={quoted(name)}].{quoted('n' + key)} == {number}"
        assert Condition.parse(text).holds(resource)


@given(st.text(alphabet='ab.[]=<>!"\\ 01or', max_size=20) | st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = Condition.parse(text)
    except SpecError:
        return
    found.holds({"a": [{"b": 1}]})
