"""Strict models whose errors name path, rule and value, and suggest the nearest key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hpo_lib.errors import SpecError, nearest

_M = TypeVar("_M", bound=BaseModel)
_RULE = "rule"
_SHOWN = 80
_MAX_TEXT = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HAS_PATH = re.compile(r"[\w.-]+: ")
MAX_WHOLE = 2**53
_WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "none_required": "must be left out",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}


def rule(message: str) -> PydanticCustomError:
    """Make the error that a validator raises; the message says the rule and then the value."""
    return PydanticCustomError(_RULE, "{message}", {"message": message})


class Strict(BaseModel):
    """A frozen model that refuses unknown keys by naming the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or cls.model_config.get("extra") == "allow":
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known:
                hint = nearest(str(key), known)
                listing = ", ".join(known)
                raise rule(f"unknown key {shown(key)}{hint}; known: {listing}")
        return data


def shown(value: Any) -> str:
    """Write a value for a message: as JSON, short, on one line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(type(value).__name__)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def scalar(value: Any) -> Any:
    """Let through text, a finite number or true/false, as a parameter's value has to be."""
    if isinstance(value, str):
        if len(value) > _MAX_TEXT or _CONTROL.search(value):
            raise rule(f"must be at most {_MAX_TEXT} printable characters, got {shown(value)}")
        return value
    return value if isinstance(value, bool) else number(value)


def number(value: Any) -> Any:
    """Let through a finite number within what JSON keeps exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise rule(f"must be text, a number or true/false, got {shown(value)}")
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise rule(f"must be within +-2**53, got {shown(value)}")
    if not math.isfinite(value):
        raise rule(f"must be a finite number, got {value}")
    return value


Scalar = Annotated[Any, AfterValidator(scalar)]
Number = Annotated[Any, AfterValidator(number)]


def parse(model: type[_M], data: Any, *, at: str = "") -> _M:
    """Build the model; SpecError holds a line per problem, each path prefixed by `at`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = dict.fromkeys(_line(problem, at) for problem in error.errors())
        raise SpecError("\n".join(lines)) from None


def _line(problem: Any, at: str) -> str:
    path = ".".join([at, *_path(problem["loc"])] if at else _path(problem["loc"]))
    message = _message(problem)
    if not path and _HAS_PATH.match(message):
        return message
    return f"{path or 'spec'}: {message}"


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Turn pydantic's location into the user's path: without the tags of tagged unions."""
    parts = [str(part) for part in loc]
    if len(parts) > 2 and parts[0] == "space":
        del parts[2]
    return [part for part in parts if not part.startswith("function-") and part != "[key]"]


def _message(problem: Any) -> str:
    kind, value = problem["type"], problem.get("input")
    if kind == _RULE:
        return str(problem["msg"])
    if kind == "missing":
        return "is required"
    if kind == "union_tag_not_found":
        return f"must have a type, got {shown(value)}"
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        known = context["expected_tags"].replace("'", "").split(", ")
        hint = nearest(context["tag"], known)
        return f"type must be one of {', '.join(known)}, got {shown(context['tag'])}{hint}"
    words = _WORDS.get(kind) or str(problem["msg"]).replace("Input should be", "must be", 1)
    return f"{words}, got {shown(value)}"
