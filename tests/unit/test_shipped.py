"""What a wheel is to hold, and the folder that stands in for a checkout where there is none."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_lib.files import shipped
from hpo_lib.registry import BACKENDS

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]


def setuptools() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["tool"]["setuptools"])


def packages(top: Path) -> set[str]:
    """Name the packages in a folder of packages."""
    found = {path.parent.relative_to(top.parent) for path in top.rglob("*.py")}
    return {".".join(path.parts) for path in found}


def test_every_package_is_packed() -> None:
    ours = packages(ROOT / "hpo_lib") | packages(ROOT / "plugins" / "hpo_airflow")
    packed = setuptools()["packages"]
    assert len(packed) == len(set(packed))
    assert set(packed) == ours | {"hpo_lib.shipped.config", "hpo_lib.shipped.dags"}


def test_every_other_file_is_packed() -> None:
    patterns = setuptools()["package-data"]
    folders = {
        "hpo_airflow": ROOT / "plugins" / "hpo_airflow",
        "hpo_lib": ROOT / "hpo_lib",
        "hpo_lib.shipped.config": ROOT / "config",
    }
    for package, folder in folders.items():
        packed = {path for pattern in patterns[package] for path in folder.glob(pattern)}
        there = {path for path in folder.rglob("*") if path.is_file()}
        left = {path for path in there - packed if path.suffix not in (".py", ".pyc")}
        assert {path.relative_to(folder).parts[0] for path in left} <= {"helm", "nights"}


def test_the_forms_of_all_dags_are_filled_from_what_is_shipped() -> None:
    assert shipped.folder() == shipped.checkout() == ROOT
    assert all((shipped.examples() / row.example).is_file() for row in BACKENDS.values())


def test_the_root_is_named_or_the_checkout_or_what_stands_in_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HPO_ROOT", raising=False)
    assert shipped.root(tmp_path) == ROOT
    monkeypatch.setattr(shipped, "_PACKED", tmp_path)
    assert shipped.checkout() is None
    assert shipped.root(tmp_path) == tmp_path
    monkeypatch.setenv("HPO_ROOT", str(tmp_path / "named"))
    assert shipped.root(tmp_path) == tmp_path / "named"
