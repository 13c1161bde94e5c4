"""What is read of a program's text: what it imports, what it sets, and when that is not certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_lib.backends.local_imports import Plan, plan

PYTHON = "/some/bin/python3.11"
SETS = "import os\n"


def read(folder: Path, text: str, *command: str) -> Plan | None:
    (folder / "train.py").write_text(text)
    return plan([PYTHON, *(command or ("train.py", "--lr=0.1"))], folder)


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("import numpy as np, sys", [("numpy", [])]),
        ("import keras\nfrom numpy import array", [("numpy", ["array"]), ("keras", [])]),
        ("def fit():\n    import keras.layers\n", [("keras.layers", [])]),
        ("try:\n    import pandas\nexcept ImportError:\n    pandas = None\n", [("pandas", [])]),
        ("from sklearn.datasets import *", [("sklearn.datasets", [])]),
    ],
)
def test_libraries_are_found_wherever_they_are_imported(
    tmp_path: Path, text: str, imports: list[tuple[str, list[str]]]
) -> None:
    assert read(tmp_path, text) == Plan(str(tmp_path), imports)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("import json", ("train.py",)),  # nothing that would be worth it
        ("from .numpy import x", ("train.py",)),
        ("import numpy", ("-u", "train.py")),
        ("import numpy", ("-c", "import numpy")),
        ("import numpy", ("other.py",)),
        ("import numpy", ("-m", "other")),
        ("import numpy", ("-m",)),
        ("import numpy", ()),
        ("not Python at all", ("train.py",)),
    ],
)
def test_other_programs_have_no_template(
    tmp_path: Path, text: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "train.py").write_text(text)
    assert plan([PYTHON, *command], tmp_path) is None
    assert plan(["nice", PYTHON, *command], tmp_path) is None


def test_a_programs_own_modules_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import keras, train")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("")
    (tmp_path / "data" / "digits.py").write_text("import numpy")
    found = read(tmp_path, "import model\nfrom data import digits", "-m", "train")
    assert found == Plan(str(tmp_path), [("numpy", []), ("keras", [])])


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("os.environ['TF_X'] = '1'\nimport keras", [("TF_X", "1", True)]),
        (
            "def go():\n os.environ.setdefault('TF_X', '1')\n import keras",
            [("TF_X", "1", False)],
        ),
        (
            "if __name__ == '__main__':\n os.environ['OMP_X'] = '1'\n import numpy",
            [("OMP_X", "1", True)],
        ),
        ("os.environ['HPO_OUTPUT'] = some()\nimport numpy", []),
        ("os.environ['WANDB_MODE'] = some()\nimport numpy", []),
        ("import numpy\nos.environ['TF_X'] = '1'\nimport keras", [("TF_X", "1", True)]),
        (
            "os.environ.update(TF_X='1', MINE=some(), OMP_X='2')\nimport keras",
            [("TF_X", "1", True), ("OMP_X", "2", True)],
        ),
        ("known = os.environ.get(some(), 'x')\nmine.update(some())\nimport keras", []),
    ],
)
def test_what_is_set_for_certain_is_set_before(
    tmp_path: Path, text: str, variables: list[tuple[str, str, bool]]
) -> None:
    found = read(tmp_path, SETS + text)
    assert found is not None
    assert (found.variables, found.refused) == (variables, "")


@pytest.mark.parametrize(
    "text",
    [
        "if some():\n    os.environ['TF_X'] = '1'\nimport keras",
        "os.environ['TF_X'] = some()\nimport keras",
        "os.environ['TF_X'] += '1'\nimport keras",
        "os.environ.pop('TF_X')\nimport keras",
        "del os.environ['TF_X']\nimport keras",
        "import numpy\nos.environ['OMP_X'] = '1'",
        "os.putenv('TF_X', '1')\nimport keras",
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, SETS + text)
    assert found is not None
    assert "_X, and it is not known which, when, or to what" in found.refused


@pytest.mark.parametrize(
    "text",
    [
        "for one in some():\n    os.environ[one] = '1'\nimport keras",
        "os.environ.update(some())\nimport keras",
        "os.environ.update(**some())\nimport keras",
        "os.environ |= some()\nimport keras",
        "os.environ = some()\nimport keras",
        "os.environ.clear()\nimport keras",
        "os.environ.pop(some())\nimport keras",
        "os.environ.setdefault(some(), '1')\nimport keras",
    ],
)
def test_names_that_are_not_in_the_text_are_refused(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, SETS + text)
    assert found is not None
    assert found.refused.startswith("its program sets variables, and it is not known")


def test_what_shadows_pythons_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "random.py").touch()
    found = read(tmp_path, "import numpy")
    assert found is not None
    assert found.refused == "random.py has the name of a module of Python's own"
