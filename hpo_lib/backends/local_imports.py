"""What a program will import and set, read from its text: nothing of it is run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo_lib.backends.local_template import FRAMEWORKS, LIGHT, is_ours, reads

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
#: A program of more text, or of more files, is not read.
_MOST_BYTES, _MOST_FILES = 1 << 20, 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What a template imports, and the variables that it sets before, for one program.

    `path0` is the folder that Python puts first into `sys.path`. An import is a module with the
    names that are taken from it, a variable its name, its value, and whether it replaces another.
    `refused` says why the program is to begin without a template, if it is.
    """

    path0: str
    imports: list[tuple[str, list[str]]]
    variables: list[tuple[str, str, bool]] = field(default_factory=list)
    refused: str = ""


def plan(command: Sequence[str], cwd: Path) -> Plan | None:
    """Read what `python SCRIPT …` or `python -m MODULE …` imports.

    None if it is no such command, or imports nothing that would be worth it.
    """
    found = _program(command, cwd)
    if found is None:
        return None
    folder, script = found
    seen = _Seen(folder)
    seen.read(script)
    if not seen.imports:
        return None
    refused = seen.doubt
    if shadow := _shadow(folder):
        refused = f"{shadow} has the name of a module of Python's own"
    order = [*LIGHT, *FRAMEWORKS]
    imports = sorted(seen.imports, key=lambda one: order.index(one[0].split(".")[0]))
    return Plan(str(folder), imports, seen.variables, refused)


def _program(command: Sequence[str], cwd: Path) -> tuple[Path, Path] | None:
    """Give the first folder of `sys.path`, and the file; None if it is no such command."""
    first, *rest = command
    if not _PYTHON.fullmatch(Path(first).name) or not rest:
        return None
    if rest[0] == "-m":
        if len(rest) < 2 or not _MODULE.fullmatch(rest[1]):
            return None
        file = _module(cwd, rest[1])
        return None if file is None else (cwd.resolve(), file)
    script = cwd / rest[0]
    if rest[0].startswith("-") or script.suffix != ".py" or not script.is_file():
        return None
    return script.resolve().parent, script


def _module(folder: Path, name: str) -> Path | None:
    """Find the file of a program's own module."""
    place = folder.joinpath(*name.split("."))
    for file in (place.with_name(f"{place.name}.py"), place / "__main__.py"):
        if file.is_file():
            return file
    return None


def _shadow(folder: Path) -> str:
    """Name a module beside a program that its imports would take for one of Python's own."""
    for one in sorted(folder.iterdir()):
        named = one.name.split(".")[0] in sys.stdlib_module_names
        if named and (one.suffix in (".py", ".so") or (one / "__init__.py").exists()):
            return one.name
    return ""


@dataclass(slots=True)
class _Seen:
    """What was read so far, of a program's file and of those beside it that it imports."""

    folder: Path
    imports: list[tuple[str, list[str]]] = field(default_factory=list)
    variables: list[tuple[str, str, bool]] = field(default_factory=list)
    doubt: str = ""
    _files: set[Path] = field(default_factory=set)

    def read(self, file: Path) -> None:
        if file in self._files or len(self._files) == _MOST_FILES:
            return
        self._files.add(file)
        try:
            text = file.read_bytes()
            tree = ast.parse(text if len(text) <= _MOST_BYTES else b"")
            for node, certain in _statements(tree.body, certain=True):
                self._imported(node)
                self._set(node, certain=certain)
        except (OSError, SyntaxError, ValueError, RecursionError):
            self.doubt = f"{file.name} cannot be read"

    def _imported(self, node: ast.stmt) -> None:
        for name, parts in _imports(node):
            if name.split(".")[0] not in LIGHT + FRAMEWORKS:
                self._beside(name, parts)
            elif (name, parts) not in self.imports:
                self.imports.append((name, parts))

    def _beside(self, name: str, parts: Sequence[str]) -> None:
        """Read modules of the program's own."""
        for one in (name, *(f"{name}.{part}" for part in parts)):
            place = self.folder.joinpath(*one.split("."))
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if file.is_file():
                    self.read(file)

    def _set(self, node: ast.stmt, *, certain: bool) -> None:
        """Take a variable that is set before libraries are imported, if it is known to what."""
        for name, value, always in _settings(node):
            if is_ours(name) or (name and not reads(name, frameworks=True)):
                continue
            late = bool(self.imports) and reads(name, frameworks=False)
            if not name or value is None or late or not certain:
                set_ = name or "variables"
                self.doubt = f"its program sets {set_}, and it is not known which, when, or to what"
            else:
                self.variables.append((name, value, always))


def _statements(body: Sequence[ast.stmt], *, certain: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Give all statements in their order, and whether each runs if its function does."""
    for node in body:
        yield node, certain
        sure = certain and (_is_plain(node) or _is_main(node))
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, name, ()), certain=sure)
        for branch in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _statements(branch.body, certain=False)


def _is_plain(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.With)


def _is_main(node: ast.stmt) -> bool:
    """Say whether a statement is `if __name__ == "__main__":`, or the like."""
    test = node.test if isinstance(node, ast.If) else None
    left = test.left if isinstance(test, ast.Compare) else None
    return isinstance(left, ast.Name) and left.id == "__name__"


def _imports(node: ast.stmt) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, []) for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module, [alias.name for alias in node.names if alias.name != "*"]


def _settings(node: ast.stmt) -> Iterator[tuple[str, str | None, bool]]:
    """Give the variables that a statement sets or removes.

    None stands for a value that is not known, and an empty text for such a name.
    """
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete):
        targets = [node.target] if hasattr(node, "target") else node.targets
        value = getattr(node, "value", None) if isinstance(node, ast.Assign) else None
        for target in targets:
            if isinstance(target, ast.Subscript) and _is_environ(target.value):
                yield _text(target.slice) or "", _text(value), True
            elif _is_environ(target):
                yield "", None, True
    for call in ast.walk(node) if isinstance(node, ast.Expr | ast.Assign) else ():
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            yield from _called(call, call.func)


def _called(call: ast.Call, method: ast.Attribute) -> Iterator[tuple[str, str | None, bool]]:
    first, second, *_ = (*call.args, None, None)
    name, by = _text(first) or "", method.attr
    if by in ("putenv", "unsetenv"):
        yield name, None, True
    elif not _is_environ(method.value):
        return
    elif by == "setdefault":
        yield name, _text(second), False
    elif by == "update" and not call.args:
        yield from ((one.arg or "", _text(one.value), True) for one in call.keywords)
    elif by in ("update", "clear", "pop", "popitem"):
        yield name, None, True


def _is_environ(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool(name == "environ")


def _text(node: ast.AST | None) -> str | None:
    told = node.value if isinstance(node, ast.Constant) else None
    return told if isinstance(told, str) else None
