"""Names of metrics in formulas: one such as `val-loss` looks like arithmetic, and stands in quotes.

A known metric is itself. What can be read in two ways is refused, with both ways to write it.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterator

from hpo_lib.errors import SpecError
from hpo_lib.validation import shown

#: Beyond these it takes long to see which of them a text names.
_MOST_NAMES = 30
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_ANY_WORD = r"[^\W\d](?:\w|[^\x00-\x7f])*"
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.])"
_PART = re.compile(
    rf"(?P<quoted>{_QUOTED})|(?P<word>{_ANY_WORD})|(?P<blanks>\s+)|(?P<other>.)", re.DOTALL
)
#: Words joined without blanks as those of a metric's name are; a function such as abs( is no word.
_CLOSED_UP = re.compile(r"(?<![\w.])(?>(?P<first>[^\W\d]\w*)(?:-[\w.]+|/[^\W\d][\w.]*)+)(?!\s*\()")
_OPERATOR = re.compile(r"\s*([-+*/])\s*")
_ARITHMETIC = (
    *(ast.Name, ast.Constant, ast.UnaryOp, ast.BinOp, ast.Call, ast.Load),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UAdd, ast.USub),
)


def is_word(name: str) -> bool:
    """Say whether a name can stand in a formula without quotes."""
    return bool(_WORD.fullmatch(name)) and not keyword.iskeyword(name) and name != "abs"


def tidied(text: str) -> str:
    """Give a formula on one line, with single blanks outside of quotes; SpecError."""
    return "".join(map(_tidy, _PART.finditer(text))).strip(" ")


def quoted(text: str, known: Collection[str]) -> str:
    """Put the known metrics that are no plain words into quotes; SpecError if that is ambiguous.

    A name that begins with a quote is known in quotes alone.
    """
    odd = [name for name in known if name in text and not is_word(name) and name[0] not in "'\""]
    if len(odd) > _MOST_NAMES:
        raise SpecError(f"must have metrics in quotes: {len(odd)} known ones can be read in it")
    made = rest = text
    for found in reversed(list(_metrics(text, odd))):
        start, end = found.span()
        _refuse_ambiguous(text, found, odd, known)
        made = made[:start] + repr(found[0]) + made[end:]
        rest = rest[:start] + " " * (end - start) + rest[end:]
    for found in re.finditer(_QUOTED, rest):
        if found[0] in known:
            raise SpecError(f"{found[0]} is a metric with its quotes: write {repr(found[0])!r}")
    rest = re.sub(_QUOTED, lambda found: " " * len(found[0]), rest)
    for found in _CLOSED_UP.finditer(rest):
        if found["first"] not in known:
            raise _two_ways(text, found)
    _refuse_spread(made, known)
    return made


def advice(text: str) -> str:
    """Say how a comparison is written one side of which is the name of a metric, but no word."""
    sides = [side.strip() for side in re.split(r"(<=|>=)", text)]
    if len(sides) != 3 or re.search(r"['\"]", text):
        return ""
    made = [side if one % 2 or _is_formula(side) else repr(side) for one, side in enumerate(sides)]
    whole = made != sides and _is_formula(made[0]) and _is_formula(made[2])
    return f"; a metric of such a name stands in quotes: {shown(' '.join(made))}" if whole else ""


def names(tree: ast.AST) -> Iterator[str]:
    """Give the metrics that an expression names; to Python `abs` is a name too."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as name):
                yield name
            case ast.Name(id=name) if name != "abs":
                yield name


def _tidy(part: re.Match[str]) -> str:
    """Write a part of a formula; what Python would take for another name is put into quotes."""
    word = part["word"]
    if part["other"] == "#":
        raise SpecError(f"must hold no # outside of quotes, got {part.string!r}")
    if word and unicodedata.normalize("NFKC", word) != word:
        return repr(word)
    return " " if part["blanks"] else part[0]


def _metrics(text: str, odd: Collection[str]) -> Iterator[re.Match[str]]:
    """Find names outside of quotes, numbers and words: at each place the longest."""
    listed = "|".join(map(_pattern, sorted(odd, key=len, reverse=True))) or r"(?!)"
    whole = rf"{_QUOTED}|(?P<name>{listed})|{_NUMBER}|{_ANY_WORD}|."
    return (one for one in re.finditer(whole, text, re.DOTALL) if one["name"] is not None)


def _pattern(name: str) -> str:
    """Match a name where it is no part of a longer word, and no function."""
    before = r"(?<![\w.])" if re.match(r"\w", name) else ""
    after = r"(?![\w.])" if re.search(r"\w\Z", name) else ""
    return before + re.escape(name) + after + (r"(?!\s*\()" if name == "abs" else "")


def _refuse_ambiguous(
    text: str, found: re.Match[str], odd: Collection[str], known: Collection[str]
) -> None:
    """Refuse a metric's name that is a formula of known metrics too, or runs into another's."""
    others = frozenset(known) - {found[0]}
    formula = _names_in(found[0], others)
    if formula and formula <= others:
        raise _two_ways(text, found)
    for name in odd:
        for other in re.finditer(_pattern(name), text):
            if found.start() < other.start() < found.end() < other.end():
                both = f"{shown(found[0])} and {shown(name)}"
                raise SpecError(f"must have metrics in quotes where names overlap, as {both} do")


def _names_in(text: str, known: Collection[str]) -> set[str] | None:
    """Give the names in a formula; None if the text is none."""
    try:
        tree = ast.parse(quoted(text, known), mode="eval").body
    except (SpecError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "") != "abs"
        if called or not isinstance(node, _ARITHMETIC):
            return None
    return set(names(tree))


def _is_formula(text: str) -> bool:
    return bool(text) and _names_in(text, ()) is not None


def _refuse_spread(text: str, known: Collection[str]) -> None:
    """Refuse a formula of unknown metrics that is a known metric's name but for its blanks."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    closed = {"".join(name.split()): name for name in known if not is_word(name)}
    for node in ast.walk(tree) if closed else ():
        if not isinstance(node, ast.BinOp) or set(names(node)) & set(known):
            continue
        said = ast.unparse(node)
        if name := closed.get("".join(said.split())):
            raise SpecError(
                f"{shown(said)} is {shown(name)} but for blanks: write {shown(repr(name))} for "
                f"that metric, or name {' and '.join(sorted(names(node)))} in extra_metrics"
            )


def _two_ways(text: str, found: re.Match[str]) -> SpecError:
    before, after, name = text[: found.start()], text[found.end() :], found[0]
    formula = _OPERATOR.sub(r" \1 ", name)
    return SpecError(
        f"{shown(name)} can be a metric or {formula}: write "
        f"{shown(before + repr(name) + after)} for the metric, or "
        f"{shown(before + formula + after)}"
    )
