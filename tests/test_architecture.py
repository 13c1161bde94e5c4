"""The dependency direction of the code base, read from its syntax trees."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = "hpo_lib"

#: From left to right; a package imports only from those to its left. Packages of one row are
#: siblings and do not import each other.
DIRECTION: list[set[str]] = [
    {"errors", "words", "runtime"},
    {"validation", "registry"},
    {"core"},
    {"spec", "files", "schedulers"},
    {"evaluation", "samplers", "collectors"},
    {"records"},
    {"search", "backends"},
    {"store", "report", "deployers"},
    {"exporters", "frames"},
    {"installation"},
    {"trials"},
    {"runs"},
    {"promotion"},
    {"housekeeping", "cli"},
]
#: All that stands at the root of the library.
ROOT_MODULES = {"errors", "words", "validation", "registry", "installation", "housekeeping"}
PURE = {
    *("errors", "words", "validation", "core", "spec", "schedulers", "evaluation", "samplers"),
    *("records", "search", "report"),
}
#: Modules of pure packages that read what they are given the path of.
READERS = {"spec/yaml_file.py"}
#: What is inside is one thing; cut in two it would not be read more easily. What guards trials is
#: one file, and what they are forked of another: each runs by itself, and imports nothing of ours.
LONG = {
    "hpo_lib/backends/local_guard.py": 655,
    "hpo_lib/backends/local_template.py": 580,
}
#: What may touch the world: pure parts may not import it, wherever in the file.
WORLD = {
    "alembic", "asyncio", "boto3", "fsspec", "httpx", "kubernetes", "psutil", "psycopg", "requests",
    "shutil", "socket", "sqlalchemy", "sqlite3", "subprocess", "tempfile", "threading", "upath",
    "urllib",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted((ROOT / LIBRARY).rglob("*.py"))


def part(path: Path) -> str:
    """Give the part of the library that a file belongs to: a module or a package."""
    return path.relative_to(ROOT / LIBRARY).parts[0].removesuffix(".py")


def row(name: str) -> int:
    return next((index for index, names in enumerate(DIRECTION) if name in names), -1)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> Iterator[str]:
    """Give the dotted names that an import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the direction"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """Give all imports of a file, inside functions too."""
    return {name for node in ast.walk(tree(path)) for name in imported(node)}


def at_module_level(path: Path) -> set[str]:
    """Give what importing the file imports: not in functions, not for type checkers."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        found.update(imported(node))
        waiting.extend(ast.iter_child_nodes(node))
    return found


def own_parts(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith(f"{LIBRARY}.")}


def outside(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def known_parts() -> set[str]:
    return {part(path) for path in modules()}


def _plugin_files() -> list[Path]:
    return [
        path for folder in ("plugins", "dags") for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def _code() -> list[Path]:
    return [*modules(), *_plugin_files(), *sorted((ROOT / "docker").rglob("*.py"))]


def test_every_package_has_a_place() -> None:
    assert known_parts() - {"__init__"} == set().union(*DIRECTION)


def test_six_modules_stand_at_the_root() -> None:
    assert {path.stem for path in (ROOT / LIBRARY).glob("*.py")} == ROOT_MODULES | {"__init__"}


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_arrows_point_left_and_siblings_stay_apart(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        assert own_parts(at_module_level(path)) == set()
        return
    wrong = {
        other
        for other in own_parts(imports(path)) - {own, "__version__"}
        if row(other) >= row(own) or row(other) < 0
    }
    assert not wrong, f"{own} must not import {', '.join(sorted(wrong))}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    """A cycle makes an order of imports matter, also one that is hidden in functions."""
    known = {name_of(path): path for path in modules() if part(path) != "__init__"}
    waiting = {
        name: {one for found in imports(path) if (one := _module(found, known)) is not None}
        for name, path in known.items()
    }
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}
    assert not waiting, f"in a cycle or behind one: {', '.join(sorted(waiting))}"


def name_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def _module(found: str, known: Mapping[str, Path]) -> str | None:
    """Give the module that an imported name is, or is from; None if it is none of ours."""
    return next((name for name in (found, found.rpartition(".")[0]) if name in known), None)


@pytest.mark.parametrize("path", [p for p in _code() if p.name != "train.py"], ids=ids)
def test_no_module_is_longer_than_400_lines(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONG.get(str(path.relative_to(ROOT)), 400)


@pytest.mark.parametrize("path", [p for p in modules() if part(p) in PURE], ids=ids)
def test_pure_modules_do_no_io(path: Path) -> None:
    names = imports(path)
    if str(path.relative_to(ROOT / LIBRARY)) in READERS:
        return
    assert not outside(names) & WORLD
    calls = {node.func.id for node in ast.walk(tree(path)) if _is_named_call(node)}
    assert not calls & {"open", "print", "input"}


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_airflow_stays_out_of_the_library(path: Path) -> None:
    names = outside(imports(path))
    assert not {name for name in names if name == "airflow" or name.startswith("hpo_airflow")}


@pytest.mark.parametrize("path", _plugin_files(), ids=ids)
def test_plugins_do_not_import_dags_or_heavy_packages_at_parse_time(path: Path) -> None:
    assert "dags" not in outside(imports(path))
    assert not outside(at_module_level(path)) & heavy()


@pytest.mark.parametrize("path", [p for p in modules() if part(p) == "runtime"], ids=ids)
def test_the_runtime_needs_the_standard_library_only(path: Path) -> None:
    allowed = {
        "upload.py": {"fsspec"},
        "checkpoints.py": {"fsspec"},
        "keras.py": {"keras"},
        "keras_checkpoint.py": {"keras", "tensorflow"},
        "keras_files.py": {"keras"},
        "keras_state.py": {"keras", "numpy", "tensorflow"},
    }.get(path.name, set())
    names = imports(path)
    assert own_parts(names) <= {"runtime"}
    assert outside(names) - {LIBRARY} - set(sys.stdlib_module_names) <= allowed


def heavy() -> set[str]:
    return set(_lint()["flake8-tidy-imports"]["banned-module-level-imports"])


def _lint() -> dict:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["ruff"]["lint"]


def exempt(path: Path) -> bool:
    """Say whether the linter's configuration lets a file import heavy packages."""
    rules = _lint()["per-file-ignores"]
    return any(
        "TID253" in codes and path.relative_to(ROOT).match(pattern.replace("/**", "/*"))
        for pattern, codes in rules.items()
    )


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    if exempt(path) or "migrations" in path.parts:
        return
    assert not outside(at_module_level(path)) & heavy()


#: Calls that go through a folder or copy by name, and where no trial writes what they go through.
_BY_NAME = {"rglob", "walk", "fwalk", "iterdir", "listdir", "scandir", "copyfile", "copytree",
            "copy", "copy2", "move", "rmtree"}  # fmt: skip
NO_OUTPUT = {
    "backends/kept_log.py": {"copyfile"},  # what we have kept of a pod's log
    "backends/local.py": {"rmtree"},  # a folder that it has just made
    "backends/local_guard.py": {"walk"},  # cgroups
    "backends/local_fork.py": {"iterdir"},  # namespaces
    "backends/local_imports.py": {"iterdir"},  # names beside a program
    "backends/local_template.py": {"iterdir", "listdir"},  # threads and open files
    "backends/trial_user.py": {"rglob"},  # a package that the worker has just unpacked
    "cli/rehearsal.py": {"rmtree"},  # the home of a rehearsal
    "deployers/loader.py": {"rglob"},  # in an unpacked package, at its user's
    "runtime/checkpoints.py": {"rglob", "iterdir", "copyfile", "copytree", "rmtree"},  # the trial
    "runtime/keras_files.py": {"copyfile"},  # itself, in what it has written
    "runs/scheduled_files.py": {"iterdir"},  # the operator's
}


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_one_door_leads_to_what_a_trial_has_written(path: Path) -> None:
    """Through `runtime/room.py` no link leads out of an output; by names they do."""
    name = str(path.relative_to(ROOT / LIBRARY))
    calls = {node.func.attr for node in ast.walk(tree(path)) if _is_attribute_call(node, "shutil")}
    if name not in ("runtime/room.py", "files/room_changes.py"):
        assert calls & _BY_NAME == NO_OUTPUT.get(name, set())


def _is_attribute_call(node: ast.AST, module: str) -> bool:
    """Say whether a method is called, or a function of a module; `copy` of others is their own."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = ast.unparse(node.func.value)
    return owner == module or node.func.attr not in ("copy", "move", "walk") or owner == "os"


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from hpo_lib.store import Store\n    import numpy.linalg\n")
    assert own_parts(imports(file)) == {"store"}
    assert outside(imports(file)) == {"hpo_lib", "numpy"}
    assert at_module_level(file) == set()
