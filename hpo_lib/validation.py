"""Strict models whose errors name path, rule and value, and suggest the nearest key."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any, ClassVar, LiteralString, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from hpo_lib.errors import HpoError, SpecError, joined, meant, misspelt, nearest, printable

log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=BaseModel)
_RULE = "rule"
#: The type of the error for an unknown key.
UNKNOWN = "unknown"
#: The context in which models ignore unknown keys and what does not fit together.
LENIENT = {"lenient": True}
_SHOWN = 80
#: So many problems of a section are told: for each a known key that is near is looked for.
MOST, _MOST_IN_ALL = 50, 200
#: A refusal has so many lines, each of so many characters: whatever is in a conf, it can be read.
_LINES, _LONGEST, _LONGEST_PATH = 40, 600, 200
_MAX_TEXT = 256
#: A choice that is a list or a mapping has so many characters.
_MAX_JSON = 2_000
_QUOTED = re.compile("'([^']*)'")
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


def _nowhere(_: str) -> str:
    return ""


def rule(message: str) -> PydanticCustomError:
    """Make the error that a validator raises; the message says the rule and then the value."""
    return PydanticCustomError(_RULE, "{message}", {"message": message})


def refuse(messages: Iterable[str]) -> None:
    """Raise one validator error that tells all of these problems, if there are any."""
    told = list(messages)
    if told:
        raise rule(joined(told))


def refusal(problems: Iterable[str]) -> SpecError:
    """Make the error of these problems: the first lines, cut, and how many there are besides."""
    listed = list(dict.fromkeys(problems))
    more = len(listed) - _LINES
    further = [f"spec: has {more:,} further problems"] if more > 0 else []
    return SpecError("\n".join([*map(_cut, listed[:_LINES]), *further]))


def as_error(problems: Iterable[str]) -> SpecError:
    """Make the error of all of these problems: each stays one line, whatever a conf has put in."""
    return SpecError(joined(dict.fromkeys(problems)))


def _cut(problem: str) -> str:
    """Put a problem on one line, and not a long one; of a long path the rule behind it stays."""
    path, colon, rule = problem.partition(": ")
    return _short(f"{_short(path, _LONGEST_PATH)}{colon}{rule}", _LONGEST)


def _short(text: str, most: int) -> str:
    line = printable(text[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"


@contextmanager
def reading() -> Iterator[None]:
    """Refuse what no check foresaw: what is raised while input is read is the input's fault.

    It is logged with its traceback, as a check of ours has a gap. What the world does passes.
    """
    try:
        yield
    except (HpoError, OSError, MemoryError):
        raise
    except Exception as error:
        log.exception("no check foresaw this input; please report it")
        said = f"{type(error).__name__}: {error}"
        raise refusal([f"spec: cannot be read, which no check foresaw: {said}"]) from error


def at_most(count: int) -> BeforeValidator:
    """Refuse a list or mapping that is longer, before anything in it is looked at."""

    def check(value: Any) -> Any:
        if isinstance(value, list | tuple | Mapping) and len(value) > count:
            raise rule(f"must hold at most {count:,}, got {len(value):,}")
        return value

    return BeforeValidator(check)


def told(check: Callable[..., object], *given: Any) -> list[str]:
    """Call a check and give the problems that it raises, a line each; none if it raises none."""
    try:
        check(*given)
    except (SpecError, PydanticCustomError) as error:
        return str(error).split("\n")
    return []


def each(check: Callable[[Any], object], values: Iterable[Any]) -> list[str]:
    """Give the problems that a check raises of any of these values, a line each."""
    return [line for value in values for line in told(check, value)]


class Strict(BaseModel):
    """A frozen model that tells all problems of its input at once.

    The error for an unknown key names the known one that is meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    #: Values that stand in for broken required fields, so that the others can be checked.
    STAND_INS: ClassVar[Mapping[str, Any]] = {}

    def problems(self, broken: Collection[str]) -> Iterator[str]:  # noqa: ARG002 - for subclasses
        """Yield what does not fit together: each the rule, then the value.

        The fields named in `broken` were refused and hold their defaults: yield nothing about them.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tell_all(cls, data: Any, handler: Callable[[Any], Self], info: ValidationInfo) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        given = cls.spelled(data)
        if info.context is LENIENT:
            return handler(given)
        unknown = list(cls._unknown(data))
        try:
            made = handler(given)
        except ValidationError as error:
            found = error.errors(include_url=False)
            further = map(_own, cls._further(given, found, handler))
            raise _together([*unknown, *_first(found), *further]) from None
        if wrong := [*unknown, *map(_own, made.problems(frozenset()))]:
            raise _together(wrong)
        return made

    @classmethod
    @cache
    def key_names(cls) -> Sequence[str]:
        """Give the keys that are known, as they are written."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def _unknown(cls, data: Mapping[Any, Any]) -> Iterator[InitErrorDetails]:
        known = cls.key_names()
        given = [] if cls.model_config.get("extra") == "allow" else data
        found = [key for key in given if key not in known]
        for key in found[:MOST]:
            yield _own(f"unknown key {shown(key)}", UNKNOWN, key=key, known=known)
        if (more := len(found) - MOST) > 0:
            yield _own(f"has {more:,} further unknown keys", UNKNOWN)

    @classmethod
    def spelled(cls, data: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Leave out unknown keys; one that is misspelt stands for the known one, if that is absent.

        It is refused all the same, but what is wrong with its value is told in the same breath.
        """
        if cls.model_config.get("extra") == "allow":
            return data
        known = cls.key_names()
        given = {key: value for key, value in data.items() if key in known}
        for key in [key for key in data if key not in known][:MOST]:
            name = misspelt(str(key), known)
            if name is not None:
                given.setdefault(name, data[key])
        return given

    @classmethod
    def _further(
        cls, data: Mapping[Any, Any], found: Iterable[Any], handler: Callable[[Any], Self]
    ) -> list[str]:
        """Give what does not fit together among the sound fields, if they make a model."""
        broken = {str(problem["loc"][0]) for problem in found if problem["loc"]}
        sound = {key: value for key, value in data.items() if key not in broken}
        try:
            made = handler({**cls.STAND_INS, **sound})
        except ValidationError:
            return []
        return list(made.problems(broken))


def _together(problems: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data("", problems)


def _first(problems: Sequence[Any]) -> list[InitErrorDetails]:
    """Take the first of the errors that pydantic reports, and the number of all others."""
    more = len(problems) - _MOST_IN_ALL
    further = [_own(f"has {more:,} further problems")] if more > 0 else []
    return [*map(_again, problems[:_MOST_IN_ALL]), *further]


def _own(message: str, kind: LiteralString = _RULE, **more: Any) -> InitErrorDetails:
    error = PydanticCustomError(kind, "{message}", {"message": message, **more})
    return InitErrorDetails(type=error, input=None)


def _again(problem: Any) -> InitErrorDetails:
    """Turn an error that pydantic reports into the form in which it takes one."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in (_RULE, UNKNOWN):
        kind, context = PydanticCustomError(kind, "{message}", context), {}
    return InitErrorDetails(type=kind, loc=problem["loc"], input=problem["input"], ctx=context)


def shown(value: Any) -> str:
    """Write a value for a message: as JSON, short, on one line; else by its type.

    What could not be read is written as it was `said`.
    """
    try:
        said = getattr(value, "said", None)
        text = said if isinstance(said, str) else json.dumps(value, ensure_ascii=False)
        text = text.encode(errors="backslashreplace").decode()
    except (TypeError, ValueError, RecursionError):
        text = repr(type(value).__name__)
    if len(text) <= _SHOWN:
        return printable(text)
    return f"{printable(text[:_SHOWN])}… ({len(text)} characters)"


def scalar(value: Any) -> Any:
    """Let through text, a finite number or true/false, as a parameter's value has to be."""
    if isinstance(value, str):
        if len(value) > _MAX_TEXT or _CONTROL.search(value):
            raise rule(f"must be at most {_MAX_TEXT} printable characters, got {shown(value)}")
        return value
    if not isinstance(value, int | float):
        raise rule(f"must be text, a number or true/false, got {shown(value)}")
    return value if isinstance(value, bool) else number(value)


def choice(value: Any) -> Any:
    """Let through a scalar, or a list or mapping of plain JSON that is not too long."""
    if not isinstance(value, list | dict):
        return scalar(value)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise rule(f"must be plain JSON with finite numbers, got {shown(value)}") from None
    if len(text) > _MAX_JSON:
        raise rule(f"must be at most {_MAX_JSON:,} characters of JSON, got {shown(value)}")
    return value


def number(value: Any) -> Any:
    """Let through a finite number within what JSON keeps exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise rule(f"must be a number, got {shown(value)}")
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        raise rule(f"must be within +-2**53, got {shown(value)}")
    if not math.isfinite(value):
        raise rule(f"must be a finite number, got {value}")
    return value


Scalar = Annotated[Any, AfterValidator(scalar)]
Choice = Annotated[Any, AfterValidator(choice)]
Number = Annotated[Any, AfterValidator(number)]


def unknown_key(
    key: object,
    known: Sequence[str],
    elsewhere: Callable[[str], str] = _nowhere,
    *,
    known_to: str = "known",
) -> str:
    """Say that a key is not known, with the one that is meant: here, elsewhere, or the nearest."""
    name = str(key)
    hint = "" if meant(name, known) else elsewhere(name)
    listing = ", ".join(known)
    return f"unknown key {shown(key)}{hint or nearest(name, known)}; {known_to}: {listing}"


def parse(model: type[_M], data: Any, *, at: str = "") -> _M:
    """Build the model; SpecError holds a line per problem, each path prefixed by `at`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise refusal(lines(error, at)) from None


def lines(
    error: ValidationError, at: str = "", *, elsewhere: Callable[[str], str] = _nowhere
) -> list[str]:
    """Give the problems that a model has, a line each, with its path.

    `elsewhere` says where a key belongs that its own section does not know.
    """
    found = error.errors(include_url=False)
    return list(dict.fromkeys(line for one in found for line in _lines(one, at, elsewhere)))


def _lines(problem: Any, at: str, elsewhere: Callable[[str], str]) -> Iterator[str]:
    path = ".".join(filter(None, [at, dotted(_path(problem["loc"]))]))
    for message in _message(problem, elsewhere).split("\n"):
        own = not path and _HAS_PATH.match(message)
        yield message if own else f"{path or 'spec'}: {message}"


def dotted(loc: Iterable[object]) -> str:
    """Write where something stands; a key that would not be seen as one is put in quotes."""
    return ".".join(_key(str(part)) for part in loc)


def _key(text: str) -> str:
    return shown(text) if not text or text[0] == ":" or ": " in text else text


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Turn pydantic's location into the user's path: without the tags of tagged unions."""
    parts = [str(part) for part in loc]
    if len(parts) > 2 and parts[0] == "space":
        del parts[2]
    return [part for part in parts if not part.startswith("function-") and part != "[key]"]


def _message(problem: Any, elsewhere: Callable[[str], str]) -> str:
    kind, value = problem["type"], problem.get("input")
    if kind == UNKNOWN and "key" in problem["ctx"]:
        return unknown_key(problem["ctx"]["key"], problem["ctx"]["known"], elsewhere)
    if kind in (_RULE, UNKNOWN):
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
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        kind = "finite_number"  # a whole number beyond 1e308
    words = _WORDS.get(kind) or str(problem["msg"]).replace("Input should be", "must be", 1)
    return f"{words}, got {shown(value)}{_value_meant(problem)}"


def _value_meant(problem: Any) -> str:
    """Hint at one of the few values that there are."""
    if problem["type"] not in ("enum", "literal_error"):
        return ""
    return nearest(str(problem["input"]), _QUOTED.findall(problem["ctx"]["expected"]))
