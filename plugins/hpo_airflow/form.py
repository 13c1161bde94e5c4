"""The trigger form of a conf-triggered DAG: a field per part of a spec, and what comes out of it.

Airflow checks every conf by the fields' schemas, that of a form before it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow.sdk import Param

from hpo_lib.spec.json_schema import Schema, sections

_WHAT, _HOW = "What is tuned", "How it is searched"
_TRIAL, _AFTER = "What a trial is", "Before and after the search"


class _Field(NamedTuple):
    name: str
    section: str
    title: str
    text: str


_FIELDS = (
    _Field("name", _WHAT, "Experiment", "lower-case letters, digits and `-`"),
    _Field("description", _WHAT, "Description", "what it is for"),
    _Field(
        "objective",
        _WHAT,
        "Objective",
        "`metric`, `direction` (minimize, maximize), `target`, `reduce` (last, best); or a list of "
        "several such mappings",
    ),
    _Field("constraints", _WHAT, "Constraints", "such as `val_loss - loss <= 0.01`, one a line"),
    _Field("extra_metrics", _WHAT, "Further metrics", "recorded beside the objective, one a line"),
    _Field("space", _WHAT, "Search space", "`float`, `int`, `categorical`, `ordinal` by name"),
    _Field("fixed", _WHAT, "Fixed parameters", "handed to every trial"),
    _Field("initial_points", _HOW, "Initial points", "configurations to try first"),
    _Field("sampler", _HOW, "Sampler", "`name` (`auto` chooses), `seed`, its own settings"),
    _Field(
        "limits",
        _HOW,
        "Limits",
        "`max_trials`, `parallel_trials`, `max_failed_trials`, `max_duration`, `patience`",
    ),
    _Field("trial", _TRIAL, "Trial", "`command`, `image`, `timeout`, `resources`, `env` …"),
    _Field(
        "metrics",
        _TRIAL,
        "Metrics",
        "`collector` (stdout, file, jsonl, tfevents, xcom), `format`, `path`",
    ),
    _Field("artifacts", _TRIAL, "Artifacts", "`uri` of a place to keep outputs, `keep`"),
    _Field(
        "warm_start",
        _AFTER,
        "Earlier runs",
        "`{}`: those of this experiment advise it; `from`, `top`, `weight`, `half_life`, `runs`",
    ),
    _Field("reuse", _AFTER, "Reuse", "`data` and `code`: what is known is not trained again"),
    _Field(
        "final",
        _AFTER,
        "Final training",
        "`{}`: the winner is trained again with 5 seeds; `seeds`, and what `trial` has otherwise",
    ),
    _Field(
        "deploy",
        _AFTER,
        "Deployment",
        "`to`, `metric`, `min_improvement`, `guards`, `approval` (unsure, none, manual)",
    ),
)
#: Of a DAG that has a choice, which its example makes.
_MODE = _Field(
    "mode",
    _HOW,
    "Mode",
    "`async`: the next trial begins as soon as one has ended; `waves`: when all of a wave have; "
    "`auto` chooses",
)
_REQUIRED = {"name", "objective", "space", "trial", "mode"}


def form(example: Mapping[str, Any]) -> dict[str, Param]:
    """Describe the trigger form, filled with an example; what it leaves out is empty."""
    known = sections()
    return {
        one.name: Param(
            example.get(one.name),
            title=one.title,
            section=one.section,
            description_md=one.text,
            **(known[one.name] if one.name in _REQUIRED else _optional(known[one.name])),
        )
        for one in (*_FIELDS, *([_MODE] if "mode" in example else []))
    }


def _optional(schema: Schema) -> Schema:
    """Let a field be empty.

    Airflow 3.3 has an editor for mappings, which shows `{}` where there is nothing, and takes that
    for what was entered. A field of two kinds of values is a plain one, which can be left empty.
    """
    if "object" not in schema["type"]:
        return {**schema, "type": [schema["type"], "null"]}
    return {**schema, "type": ["object", "array", "null"], "maxItems": 0}


def entered(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Give a conf without what the form has left empty: no value, no list, lines without text."""
    found = {name: _lines(value) for name, value in conf.items()}
    return {name: value for name, value in found.items() if value is not None and value != []}


def _lines(value: Any) -> Any:
    """Leave out the empty lines of a field that has a text a line."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return [line for line in value if line.strip()]
    return value
