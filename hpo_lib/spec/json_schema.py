"""The sections of a spec as JSON schemas, which a form checks before it sends anything.

They never refuse what the models take: they know kinds of values, choices, bounds and names of
keys, and leave the rest, such as empty ranges, to the models and their better words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hpo_lib.spec.model import Spec

Schema = dict[str, Any]
#: What a form needs of a schema; titles and long texts would only make its errors longer.
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
#: Read more kindly by the models than their own schemas say.
_KINDLY = {"metric_definitions"}


@cache
def sections() -> Mapping[str, Schema]:
    """Give a schema per key of a spec."""
    whole = Spec.model_json_schema()
    found = {name: _plain(one, whole["$defs"]) for name, one in whole["properties"].items()}
    one = _plain(whole["$defs"]["Objective"], whole["$defs"])
    return found | {"objective": {**one, "type": ["object", "array"], "items": one}}


def _plain(schema: Schema, named: Mapping[str, Schema]) -> Schema:
    """Give a schema without references: only what it says of kinds, choices, bounds and keys."""
    if "$ref" in schema:
        return _plain(named[schema["$ref"].rpartition("/")[2]], named)
    if "discriminator" in schema:
        known = {"type": "string", "enum": list(schema["discriminator"]["mapping"])}
        return {"type": "object", "properties": {"type": known}, "required": ["type"]}
    if "anyOf" in schema:
        return _either([_plain(one, named) for one in schema["anyOf"]])
    found = {name: schema[name] for name in _KEPT if name in schema}
    if "items" in schema:
        found["items"] = _plain(schema["items"], named)
    if "properties" in schema:
        keys = schema["properties"].items()
        found["properties"] = {k: {} if k in _KINDLY else _plain(one, named) for k, one in keys}
        found["required"] = schema.get("required", [])
    if isinstance(more := schema.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _plain(dict(more), named)
    elif more is False:
        found["additionalProperties"] = False
    return found


def _either(schemas: Sequence[Schema]) -> Schema:
    """Join schemas of different kinds of values: an error then names what is wrong, not all."""
    if not all("type" in one for one in schemas):
        return {}
    found = {name: said for one in schemas for name, said in one.items()}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found | {"type": [one["type"] for one in schemas]}
