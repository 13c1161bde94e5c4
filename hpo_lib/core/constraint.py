"""Outcome constraints: an expression over a trial's metrics and the bound that it must keep."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hpo_lib.core import naming
from hpo_lib.errors import SpecError
from hpo_lib.validation import shown

_MAX_LENGTH, _MAX_DEPTH = 200, 20
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_RULE = (
    "must be an expression of metrics and numbers with + - * / abs(), then <= or >=, then another, "
    "such as val_loss - loss <= 0.01"
)


@dataclass(frozen=True, slots=True)
class Constraint:
    """`left <= right` over metrics; constraints with the same text are equal.

    A metric whose name is no plain word stands in quotes in the text: `"val/loss" <= 0.5`.
    """

    text: str
    metrics: frozenset[str]

    @classmethod
    def parse(cls, text: str, known: Collection[str] | None = None) -> Constraint:
        """Read `val_loss - loss <= 0.01`; SpecError says what is wrong.

        It may hold only arithmetic, and is never executed. The metrics that are `known` need no
        quotes: `val-loss <= 0.5` gets them, and is refused if it can be a difference as well.
        Without `known`, what has no quotes is arithmetic.
        """
        if len(text) > _MAX_LENGTH:
            raise SpecError(f"must be at most {_MAX_LENGTH} characters, got {len(text)}")
        line = naming.tidied(text if known is None else naming.quoted(text, known))
        if len(line) > _MAX_LENGTH:
            raise SpecError(
                f"must be at most {_MAX_LENGTH} characters, got {len(line)} with quotes"
            )
        if not line.isprintable():
            raise SpecError(f"{_RULE}, got {line!r}")
        try:
            names = frozenset(naming.names(_parsed(line)))
        except SpecError as error:
            raise SpecError(f"{error}{cls._advice(text, known or ())}") from None
        if not names:
            raise SpecError(f"{_RULE}; it names no metric: {line!r}")
        return cls(line, names)

    @classmethod
    def _advice(cls, text: str, known: Collection[str]) -> str:
        """Say how a refused text is written that is right but for quotes or a sign."""
        if not (made := naming.advised(text, known)):
            return ""
        try:
            cls.parse(made, known)
        except SpecError:
            return ""
        if "'" in made:
            return f"; a metric of such a name stands in quotes: {shown(made)}"
        return f", did you mean {shown(made)}?"

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Give how far the bound is exceeded: at most 0 where it is kept; infinite if unknown."""
        body = _parsed(self.text)
        try:
            left, right = (_value(side, metrics) for side in (body.left, body.comparators[0]))
        except (KeyError, ZeroDivisionError, OverflowError):
            return math.inf
        excess = left - right if isinstance(body.ops[0], ast.LtE) else right - left
        return math.inf if math.isnan(excess) else excess

    def broken(self, metrics: Mapping[str, float]) -> str | None:
        """Say by how much the bound is exceeded; None where it is kept."""
        excess = self.excess(metrics)
        if excess <= 0:
            return None
        if not math.isfinite(excess):
            return f"{self.text} has no finite value"
        return f"{self.text} is exceeded by {excess:.4g}"


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.Compare:
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(f"{_RULE}, got {text!r}") from None
    if not isinstance(body, ast.Compare) or type(body.ops[0]) not in (ast.LtE, ast.GtE):
        raise SpecError(f"{_RULE}, got {text!r}")
    if len(body.ops) > 1:
        raise SpecError(f"must compare once, got {text!r}")
    for side in (body.left, body.comparators[0]):
        _check(side, text, _MAX_DEPTH)
    return body


def _check(node: ast.expr, text: str, depth: int) -> None:
    """Refuse whatever `_value` does not compute."""
    if depth == 0:
        raise SpecError(f"must not be nested deeper than {_MAX_DEPTH}, got {text!r}")
    match node:
        case ast.Name() | ast.Constant(value=str()) if getattr(node, "id", "") != "abs":
            return None
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            if math.isfinite(number):
                return None
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _check(operand, text, depth - 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left, text, depth - 1)
            return _check(right, text, depth - 1)
        case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
            return _check(argument, text, depth - 1)
    raise SpecError(f"{_RULE}, got {text!r}")


def _value(node: ast.expr, metrics: Mapping[str, float]) -> float:
    match node:
        case ast.Name(id=name) | ast.Constant(value=str() as name):
            return float(metrics[name])
        case ast.Constant(value=number):
            return float(number)  # type: ignore[arg-type]
        case ast.UnaryOp(op=op, operand=operand):
            return float(_UNARY[type(op)](_value(operand, metrics)))
        case ast.BinOp(left=left, op=op, right=right):
            return float(_BINARY[type(op)](_value(left, metrics), _value(right, metrics)))
        case ast.Call(args=[argument]):
            return abs(_value(argument, metrics))
    raise AssertionError(ast.dump(node))
