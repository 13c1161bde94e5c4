"""The flags of a Python script, and a metric that it may print, read from its text.

The script is neither imported nor run. What is written out is read: `add_argument` of argparse,
options of click and of typer, DEFINE_… of absl. `complete` says whether these are all that there
can be; of a script that makes flags in a loop, say, nobody knows without running it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo_lib.errors import SpecError
from hpo_lib.spec.flags import Spelling

#: Packages that make flags of other things than calls that can be read here.
_OTHER_WAYS = {"docopt", "fire", "hydra", "jsonargparse", "simple_parsing", "tap", "tyro"}
#: Calls after which a program may take other flags than those that are written out.
_OPEN_ENDS = {"parse_known_args", "add_subparsers", "HfArgumentParser", "set_defaults"}
_OPEN_WORDS = {"sys.argv", "click.group"}
_TYPES: Mapping[str, type] = {
    "float": float, "FLOAT": float, "FloatRange": float,
    "int": int, "INT": int, "IntRange": int,
    "str": str, "STRING": str, "Path": str,
    "bool": bool, "BOOL": bool,
}  # fmt: skip
_ABSL: Mapping[str, type] = {
    "float": float, "integer": int, "string": str, "enum": str, "bool": bool, "boolean": bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as a command line has it in `word`, such as `--learning-rate`; `""` has no name there.

    `words` are all that it is called there. `kind` is None where the script does not say what it
    takes. `spelling` is how a boolean is told.
    """

    name: str
    word: str
    kind: type | None = None
    choices: tuple[Any, ...] = ()
    default: Any = None
    required: bool = False
    spelling: Spelling | None = None
    words: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name by which it is asked for, however its words are joined."""
        return joined(self.name)


@dataclass(frozen=True, slots=True)
class Script:
    """What was read of a script; `metric` is a guess, empty where there is none."""

    flags: tuple[Flag, ...] = ()
    complete: bool = False
    metric: str = ""

    def flag(self, name: str) -> Flag | None:
        """Give the flag of a name, with dashes or underscores."""
        return next((one for one in self.flags if one.key == joined(name)), None)

    def takes(self, word: str) -> bool:
        """Say whether a flag is called so, or by a longer name that begins so."""
        called = [name for one in self.flags for name in (one.word, *one.words)]
        off = [f"--{no}{name.lstrip('-')}" for name in called for no in ("no-", "no")]
        return any(name.startswith(word) for name in (*called, *off))


def joined(name: str) -> str:
    """Write a flag's name as a variable's."""
    return name.lstrip("-").replace("-", "_")


def read(text: str, name: str) -> Script:
    """Read a script; SpecError if it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise SpecError(f"{name}: must be a Python program: {error}") from None
    reader = _Reader()
    reader.visit(tree)
    flags = tuple(reader.required(one) for one in reader.flags.values())
    return Script(flags, bool(flags) and not reader.open, reader.metric)


class _Reader(ast.NodeVisitor):
    """Goes through a script once and keeps what it finds."""

    def __init__(self) -> None:
        self.flags: dict[str, Flag] = {}
        self.open = False
        self.marked: set[str] = set()
        self._accuracy = self._validates = self._trains = False
        self._commands = 0

    @property
    def metric(self) -> str:
        """Guess what Keras prints of this script."""
        if not self._trains:
            return ""
        name = "accuracy" if self._accuracy else "loss"
        return f"val_{name}" if self._validates else name

    def required(self, flag: Flag) -> Flag:
        """Give a flag as absl's mark_flag_as_required leaves it."""
        return replace(flag, required=True) if flag.name in self.marked else flag

    def visit_Import(self, node: ast.Import) -> None:
        """Look for packages that take flags in other ways."""
        self.open |= any(one.name.partition(".")[0] in _OTHER_WAYS for one in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Look for the same."""
        self.open |= (node.module or "").partition(".")[0] in _OTHER_WAYS

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Look for a script that reads its command line by itself, or that has commands."""
        self.open |= node.attr in ("argv", "group") and ast.unparse(node) in _OPEN_WORDS
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Read one call."""
        name = _name(node.func)
        self.open |= name in _OPEN_ENDS or (name == "ArgumentParser" and _inherits(node))
        if name == "add_argument":
            self._add(_of_argparse, node)
        elif name in ("option", "argument") and _is_clicks(node.func):
            self._add(_of_click, node)
        elif name.startswith("DEFINE_"):
            self._add(_of_absl, node)
        elif name in ("mark_flag_as_required", "mark_flags_as_required"):
            self.marked.update(map(str, _flat(_literal(one) for one in node.args[:1])))
        self._keras(name, node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Read a command of typer by its parameters."""
        if any(_name(_called(one)) == "command" and _is_typers(one) for one in node.decorator_list):
            self.open |= self._commands > 0 or "Annotated" in ast.unparse(node.args)
            self._commands += 1
            self.flags.update((flag.name, flag) for flag in _of_typer(node))
        self.generic_visit(node)

    def _add(self, read_one: Callable[[ast.Call], Flag | None], node: ast.Call) -> None:
        starred = any(isinstance(one, ast.Starred) for one in node.args)
        flag = None if starred or not node.args else read_one(node)
        if flag is None or any(one.arg is None for one in node.keywords):
            self.open = True
        if flag is not None:
            before = self.flags.get(flag.name, flag).words
            self.flags[flag.name] = replace(flag, words=(*before, *flag.words))

    def _keras(self, name: str, node: ast.Call) -> None:
        given = {one.arg: one.value for one in node.keywords}
        if name == "compile" and "metrics" in given:
            words = {_literal(one) for one in getattr(given["metrics"], "elts", ())}
            self._accuracy |= bool(words & {"accuracy", "acc"})
        if name == "fit":
            self._trains |= "epochs" in given or "validation_data" in given
            self._validates |= bool({"validation_split", "validation_data"} & given.keys())


def _of_argparse(node: ast.Call) -> Flag | None:
    words = [_literal(one) for one in node.args]
    if not all(isinstance(one, str) and one for one in words):
        return None
    given = {one.arg: one.value for one in node.keywords if one.arg}
    flag = _written(words, given)
    said = given.get("action")
    action = "" if said is None else str(_literal(said) or _name(said))
    if action in ("store_true", "store_false"):
        return replace(flag, kind=bool, default=False, spelling=Spelling.PRESENCE)
    if action == "BooleanOptionalAction":
        return replace(flag, kind=bool, spelling=Spelling.NO_PREFIX)
    if flag.kind is bool:
        return replace(flag, spelling=Spelling.TRUE_EMPTY)
    return replace(flag, required=flag.required and _literal(given.get("nargs")) not in ("?", "*"))


def _written(words: list[Any], given: Mapping[str, ast.expr]) -> Flag:
    """Read what argparse and click have in common."""
    long = next((one for one in words if one.startswith("--")), words[0])
    name = str(_literal(given.get("dest")) or long.lstrip("-"))
    default, choices = _literal(given.get("default")), _choices(given)
    kind = _kind(given.get("type")) or (type(default) if default is not None else None)
    positional = not long.startswith("-")
    needed = positional or _literal(given.get("required")) is True
    return Flag(
        joined(name),
        "" if positional else long,
        kind=kind or (type(choices[0]) if choices else None),
        choices=choices,
        default=default,
        required=needed and "default" not in given,
        words=tuple(one for one in words if one.startswith("-")),
    )


def _of_click(node: ast.Call) -> Flag | None:
    words = [_literal(one) for one in node.args]
    if not all(isinstance(one, str) and one for one in words):
        return None
    given = {one.arg: one.value for one in node.keywords if one.arg}
    pair = next((one for one in words if "/" in one), "")
    flag = _written([one.partition("/")[0].strip() for one in words], given)
    if pair:
        off = pair.partition("/")[2].strip()
        flag = replace(flag, words=(*flag.words, off))
        known = Spelling.NO_PREFIX if off == f"--no-{flag.word.lstrip('-')}" else Spelling.PRESENCE
        return replace(flag, kind=bool, spelling=known)
    if _literal(given.get("is_flag")) is True:
        return replace(flag, kind=bool, spelling=Spelling.PRESENCE)
    return flag


def _of_absl(node: ast.Call) -> Flag | None:
    name, default = _literal(node.args[0]), _literal(node.args[1]) if node.args[1:] else None
    if not isinstance(name, str):
        return None
    kind = _ABSL.get(_name(node.func).removeprefix("DEFINE_"))
    given = {one.arg: one.value for one in node.keywords if one.arg}
    is_enum = _name(node.func) == "DEFINE_enum" and len(node.args) > 2
    choices = tuple(_flat([_literal(node.args[2])])) if is_enum else ()
    spelling = Spelling.TRUE_FALSE if kind is bool else None
    required = _literal(given.get("required")) is True
    return Flag(name, f"--{name}", kind, choices, default, required, spelling)


def _of_typer(node: ast.FunctionDef) -> Iterator[Flag]:
    args = [*node.args.args, *node.args.kwonlyargs]
    without = [None] * (len(node.args.args) - len(node.args.defaults))
    defaults = [*without, *node.args.defaults, *node.args.kw_defaults]
    for arg, given in zip(args, defaults, strict=True):
        default, argument = _typers_default(given)
        kind = _kind(arg.annotation)
        words = [_literal(one) for one in given.args[1:]] if isinstance(given, ast.Call) else []
        named = [one for one in words if isinstance(one, str) and one.startswith("--")]
        word = "" if argument else next(iter(named), f"--{arg.arg.replace('_', '-')}")
        is_pair = kind is bool and not named
        spelling = Spelling.NO_PREFIX if is_pair else Spelling.PRESENCE if kind is bool else None
        yield Flag(arg.arg, word, kind, (), default, default is None, spelling)


def _typers_default(given: ast.expr | None) -> tuple[Any, bool]:
    """Give the default, and whether it is an argument without a name."""
    if given is None:
        return None, True
    if not isinstance(given, ast.Call):
        return _literal(given), False
    default = _literal(given.args[0]) if given.args else None
    return (None if default is ... else default), _name(given.func) == "Argument"


def _choices(given: Mapping[str, ast.expr]) -> tuple[Any, ...]:
    if "choices" in given:
        return tuple(_flat([_literal(given["choices"])]))
    kind = given.get("type")
    if isinstance(kind, ast.Call) and _name(kind.func) == "Choice" and kind.args:
        return tuple(_flat([_literal(kind.args[0])]))
    return ()


def _kind(node: ast.expr | None) -> type | None:
    return None if node is None else _TYPES.get(_name(_called(node)))


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _name(node: ast.expr) -> str:
    """Give the last word of a dotted name."""
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def _is_clicks(node: ast.expr) -> bool:
    """Say whether this is `click.option`, or `option` by itself."""
    return isinstance(node, ast.Name) or ast.unparse(node).startswith("click.")


def _is_typers(node: ast.expr) -> bool:
    """Say whether a decorator is `app.command`, and not click's own."""
    return not ast.unparse(node).startswith("click.")


def _inherits(node: ast.Call) -> bool:
    return bool({"parents", "fromfile_prefix_chars"} & {one.arg for one in node.keywords})


def _flat(found: Any) -> Iterator[Any]:
    """Go through values, and those of lists; what is no plain value is left out."""
    for one in found:
        if isinstance(one, list | tuple):
            yield from _flat(one)
        elif isinstance(one, str | int | float):
            yield one


def _literal(node: ast.expr | None) -> Any:
    """Give the value of a literal; None if it is none."""
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
