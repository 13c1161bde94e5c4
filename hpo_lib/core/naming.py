"""Names of metrics in formulas: one such as `val-loss` looks like arithmetic, and stands in quotes.

A known metric is itself. What can be read in two ways is refused, with both ways to write it.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterator
from itertools import chain, pairwise, zip_longest

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
_CLOSED_UP = re.compile(
    r"(?<![\w.])(?!abs\s*\()[^\W\d][\w.@:%#]*+"
    r"(?:-(?!abs\s*\()[\w.@:%#]++|/(?!abs\s*\()[^\W\d][\w.@:%#]*+)++(?!\s*\()"
)
_ITEM = re.compile(rf"{_NUMBER}(?=[-/]|\Z)|[^-/]+")
_COMPARED = re.compile(r"(<=|>=|=<|=>|<|>|≤|≥)")
#: A number, a function of mathematics, or an operator that no metric's name has.
_NO_NAME = re.compile(
    r"\A\s*(?:[-+(]?\s*\.?[0-9]|\Z)|\*\*|//|[\^&|~!=?,]|%\s*\w|\b(?:and|or|not|if|else|in)\b"
    r"|\b(?:min|max|log\w*|ln|exp|sqrt|pow|round|floor|ceil|mean|avg|sum|std|var|median|float|int)"
    r"\s*\("
)
_ON_RIGHT, _ON_LEFT = re.compile(r"\s*[*+%)\[.]"), re.compile(r"[*+%(]\s*\Z")
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
    odd = _odd(text, known)
    if len(odd) > _MOST_NAMES:
        raise SpecError(f"must have metrics in quotes: {len(odd)} known ones can be read in it")
    made, rest = _marked(text, odd, known)
    for found in re.finditer(_QUOTED, rest):
        if found[0] in known:
            raise SpecError(f"{found[0]} is a metric with its quotes: write {repr(found[0])!r}")
    _refuse_closed_up(text, rest, known)
    _refuse_adjacent(made)
    _refuse_spread(made, known)
    return made


def advised(text: str, known: Collection[str]) -> str:
    """Give the comparison that a refused one may stand for; nothing if there is none.

    A side is put into quotes if it can be a metric's name, and < and its like become <=.
    """
    sides = [side.strip() for side in _COMPARED.split(text)]
    if len(sides) != 3 or re.search(r"['\"]", text):
        return ""
    made = [_in_order(side) if one % 2 else _side(side, known) for one, side in enumerate(sides)]
    return " ".join(made) if all(made) and made != sides else ""


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


def _odd(text: str, known: Collection[str]) -> list[str]:
    """Give the known metrics that a text may hold, and that need quotes in a formula."""
    return [name for name in known if name in text and not is_word(name) and name[0] not in "'\""]


def _metrics(text: str, odd: Collection[str]) -> Iterator[re.Match[str]]:
    """Find names outside of quotes, numbers and words: at each place the longest."""
    listed = "|".join(map(_pattern, sorted(odd, key=len, reverse=True))) or r"(?!)"
    whole = rf"{_QUOTED}|(?P<name>{listed})|{_NUMBER}|{_ANY_WORD}|."
    return (one for one in re.finditer(whole, text, re.DOTALL) if one["name"] is not None)


def _marked(text: str, odd: Collection[str], known: Collection[str]) -> tuple[str, str]:
    """Put known metrics into quotes; give that, and the text with letters alone in their place."""
    made = rest = text
    for found in reversed(list(_metrics(text, odd))):
        start, end = found.span()
        _refuse_ambiguous(text, found, odd, known)
        made = made[:start] + repr(found[0]) + made[end:]
        rest = rest[:start] + "x" * (end - start) + rest[end:]
    return made, rest


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
        raise _two_ways(text, found.span(), ast.unparse(ast.parse(_in_quotes(found[0], others))))
    for name in odd:
        for other in re.finditer(_pattern(name), text):
            if found.start() < other.start() < found.end() < other.end():
                both = f"{shown(found[0])} and {shown(name)}"
                raise SpecError(f"must have metrics in quotes where names overlap, as {both} do")


def _names_in(text: str, known: Collection[str]) -> set[str] | None:
    """Give the names in a formula; None if the text is none."""
    try:
        tree = ast.parse(_in_quotes(text, known), mode="eval").body
    except (SpecError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "") != "abs"
        if called or not isinstance(node, _ARITHMETIC):
            return None
    return set(names(tree))


def _in_quotes(text: str, known: Collection[str]) -> str:
    return _marked(text, _odd(text, known), known)[0]


def _in_order(sign: str) -> str:
    return "<=" if set(sign) & set("<≤") else ">="


def _side(text: str, known: Collection[str]) -> str:
    """Give a side of a comparison that is a formula, or put a name into quotes; else nothing."""
    if _names_in(text, known) is not None:
        return text
    return "" if _NO_NAME.search(text) or _applied(text, known) else repr(text)


def _applied(text: str, known: Collection[str]) -> bool:
    """Say whether a text has an operator, or calls a function, on a known metric."""
    named = [name for name in known if name in text]
    found = (one for name in named for one in re.finditer(_pattern(name), text))
    return len(named) > _MOST_NAMES or any(
        _ON_RIGHT.match(text, one.end()) or _ON_LEFT.search(text[: one.start()]) for one in found
    )


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


def _refuse_closed_up(text: str, rest: str, known: Collection[str]) -> None:
    """Refuse words without blanks around - or / unless each of them is a known metric.

    In `rest` letters stand for known metrics, so that no operator in their names is seen.
    """
    rest = re.sub(_QUOTED, lambda found: " " * len(found[0]), rest)
    for found in _CLOSED_UP.finditer(rest):
        spans = [one.span() for one in _ITEM.finditer(rest, *found.span())]
        words = [text[start:end] for start, end in spans]
        if all(word in known for word in words):
            continue
        signs = [f" {text[end:start]} " for (_, end), (start, _) in pairwise(spans)]
        formula = "".join(chain(*zip_longest(map(_written, words), signs, fillvalue="")))
        raise _two_ways(text, found.span(), formula)


def _refuse_adjacent(text: str) -> None:
    """Refuse metrics in quotes side by side: Python would take them for one name."""
    for found in re.finditer(_QUOTED, text):
        if text[found.end() :].lstrip()[:1] in ("'", '"'):
            raise SpecError(f"must have an operator between two metrics, got {text!r}")


def _written(word: str) -> str:
    """Write a metric or a number as it stands in a formula."""
    return word if is_word(word) or re.fullmatch(_NUMBER, word) else repr(word)


def _two_ways(text: str, span: tuple[int, int], formula: str) -> SpecError:
    before, name, after = text[: span[0]], text[slice(*span)], text[span[1] :]
    return SpecError(
        f"{shown(name)} can be a metric or {formula}: write "
        f"{shown(before + repr(name) + after)} for the metric, or "
        f"{shown(before + formula + after)}"
    )
