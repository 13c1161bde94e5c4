"""The dependency direction of the code base, read from its syntax trees."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = "hpo_lib"

#: From left to right; a part imports only from layers to its left. Parts of one layer are
#: siblings and do not import each other.
LAYERS: list[set[str]] = [
    {"errors", "runtime", "words"},
    {"validation", "trial", "constraint", "condition"},
    {"space", "goal", "placeholders", "uris", "drift", "units"},
    {"registry", "record", "failures", "gate", "reuse", "schedule"},
    {"spec"},
    {"samplers", "schedulers", "invocation", "warmstart", "program"},
    {"engine", "report"},
    {"optimizer"},
    {"tables", "places"},
    {"lines"},
    {"artifacts", "migrations", "collectors"},
    {"backends", "fingerprint"},
    {"deployers", "models", "results"},
    {"store", "remote"},
    {"runs", "specfile"},
    {"nights"},
    {"promotion", "rollout"},
    {"embedded", "examine", "experiments", "recollect", "releases", "watch"},
    {"sweep"},
    {"operate"},
    {"collecting", "modelling", "nightly"},
    {"cli"},
]
IO_LEAVES = {
    "tables", "places", "lines", "artifacts", "migrations", "collectors", "backends", "deployers",
    "fingerprint", "models", "results", "store", "remote",
}  # fmt: skip
PURE = set().union(*LAYERS[:8]) - {"runtime"}
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


def layer(name: str) -> int:
    return next((index for index, names in enumerate(LAYERS) if name in names), -1)


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


def test_every_module_has_a_place() -> None:
    assert {name for name in known_parts() if layer(name) < 0} == {"__init__"}


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_arrows_point_left_and_siblings_stay_apart(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        assert own_parts(at_module_level(path)) == set()
        return
    wrong = {
        other
        for other in own_parts(imports(path)) - {own, "__version__"}
        if layer(other) >= layer(own) or layer(other) < 0
    }
    assert not wrong, f"{own} must not import {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("path", [p for p in modules() if part(p) in PURE], ids=ids)
def test_pure_modules_do_no_io(path: Path) -> None:
    names = imports(path)
    assert not own_parts(names) & IO_LEAVES
    assert not outside(names) & WORLD
    calls = {node.func.id for node in ast.walk(tree(path)) if _is_named_call(node)}
    assert not calls & {"open", "print", "input"}


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("path", modules(), ids=ids)
def test_airflow_stays_out_of_the_library(path: Path) -> None:
    names = outside(imports(path))
    assert not {name for name in names if name == "airflow" or name.startswith("hpo_airflow")}


def _plugin_files() -> list[Path]:
    return [
        path for folder in ("plugins", "dags") for path in sorted((ROOT / folder).rglob("*.py"))
    ]


@pytest.mark.parametrize("path", _plugin_files(), ids=ids)
def test_plugins_do_not_import_dags_or_heavy_packages_at_parse_time(path: Path) -> None:
    assert "dags" not in outside(imports(path))
    assert not outside(at_module_level(path)) & heavy()


@pytest.mark.parametrize("path", [p for p in modules() if part(p) == "runtime"], ids=ids)
def test_the_runtime_needs_the_standard_library_only(path: Path) -> None:
    allowed = {"keras.py": {"keras"}, "upload.py": {"fsspec"}}.get(path.name, set())
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
    if exempt(path) or part(path) == "migrations":
        return
    assert not outside(at_module_level(path)) & heavy()


def test_a_wrong_arrow_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from hpo_lib.store import Store\n    import numpy.linalg\n")
    assert own_parts(imports(file)) == {"store"}
    assert outside(imports(file)) == {"hpo_lib", "numpy"}
    assert at_module_level(file) == set()
