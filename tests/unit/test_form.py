"""The trigger form: what it demands, what it refuses, and what it makes of empty fields."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import confs
from hpo_airflow.form import entered, form
from hpo_lib.errors import SpecError
from hpo_lib.spec import Spec, load
from tests.unit.factories import SPEC

BLANK = {"final": None, "deploy": None, "warm_start": None, "reuse": None, "artifacts": None}
LATER = {"scheduler", "mode"}
OF_FILES = {"schedule", "airflow"}


def checked(conf: Any) -> dict[str, Any]:
    """Check a conf as Airflow does when a DAG is triggered: merged over the form's example."""
    params = ParamsDict(form(SPEC))
    for name in set(params) & set(conf):
        params[name] = conf[name]
    return params.validate()


def test_the_form_offers_every_part_of_a_spec() -> None:
    keys = {field.alias or name for name, field in Spec.model_fields.items()}
    assert set(form(SPEC)) == keys - LATER - OF_FILES


def test_only_what_is_required_is_required() -> None:
    required = {name for name, one in form(SPEC).items() if "null" not in one.schema["type"]}
    assert required == {name for name, one in Spec.model_fields.items() if one.is_required()} - {
        "objectives"
    } | {"objective"}


def test_an_optional_mapping_has_a_field_that_can_be_left_empty() -> None:
    """Airflow's editor for mappings shows `{}` for nothing: other kinds beside it avoid that."""
    for name, one in form(SPEC).items():
        kinds = one.schema["type"]
        if "null" in kinds and "object" in kinds:
            assert {"object", "array"} <= set(kinds), name
            assert "enum" not in one.schema


def test_every_field_is_in_a_section_and_explained() -> None:
    for name, one in form(SPEC).items():
        assert one.schema["section"], name
        assert one.schema["description_md"], name


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"limits": {"max_trails": 3}}, "max_trails"),
        ({"limits": {"max_trials": 0}}, "0 is less than the minimum of 1"),
        ({"limits": {"max_trials": "3"}}, "'3' is not of type 'integer'"),
        ({"limits": [3]}, "[3] is expected to be empty"),
        ({"objective": {"metric": "loss", "direction": "up"}}, "'up' is not one of"),
        ({"objective": [{"metric": "loss"}]}, "'direction' is a required property"),
        ({"space": {"x": {"type": "flaot"}}}, "'flaot' is not one of"),
        ({"space": {"x": {"low": 1}}}, "'type' is a required property"),
        ({"final": {"seeds": 0}}, "0 is less than the minimum of 1"),
        ({"deploy": {"approval": "never", "to": "package"}}, "'never' is not one of"),
        ({"deploy": {}}, "'to' is a required property"),
        ({"artifacts": {"keep": "best"}}, "'uri' is a required property"),
        ({"name": None}, "None is not of type 'string'"),
        ({"trial": {"comand": ["a"]}}, "comand"),
    ],
)
def test_the_form_refuses_a_wrong_conf(conf: dict[str, Any], message: str) -> None:
    (name,) = conf
    with pytest.raises(ParamValidationError) as error:
        checked(conf)
    assert f"Invalid input for param {name}: " in str(error.value)
    assert message in str(error.value)


def test_empty_fields_are_absent() -> None:
    spec = load(SPEC)
    lines = {"constraints": ["", " "], "extra_metrics": [*SPEC["extra_metrics"], ""]}
    left = dict.fromkeys(("description", "fixed", "initial_points", "sampler", "limits"))
    assert load(entered({**SPEC, **BLANK, **lines})) == spec
    bare = {name: one for name, one in SPEC.items() if name not in left}
    assert load(entered({**bare, **left, "metrics": []})) == load(bare)


def test_what_was_entered_stays_as_it_is() -> None:
    conf = {**SPEC, "final": {}, "warm_start": {}, "reuse": {"data": []}}
    assert entered(conf) == conf
    assert checked(conf)["final"] == {}


def test_an_empty_field_that_is_required_is_told() -> None:
    with pytest.raises(SpecError, match="space: is required"):
        load(entered({**SPEC, "space": None}))


@pytest.mark.parametrize("sound", confs.SOUND, ids=lambda one: one["name"])
def test_the_form_takes_every_example(sound: dict[str, Any]) -> None:
    form(sound)
    assert checked(sound)


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, suppress_health_check=list(HealthCheck))
def test_the_form_takes_every_conf_that_is_a_spec(random: Random) -> None:
    conf = confs.conf(random)
    try:
        load(conf)
    except SpecError:
        return
    checked({name: one for name, one in conf.items() if isinstance(name, str)})
