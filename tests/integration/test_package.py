"""Packages: what is in them, what is found out about them, and the alias."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
import tracemalloc
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from hpo_lib.deployers import Release
from hpo_lib.deployers.package import PackageDeployer, interpreter, pack
from hpo_lib.errors import NotFound, SpecError, TransientError
from tests.integration.deployer_contract import DeployerContract, MakeRelease

NAN = float("nan")
#: A fake of Keras: its model adds up its inputs.
FAKE_KERAS = """
class saving:
    @staticmethod
    def load_model(path):
        factor = float(open(path).read())
        return lambda inputs: inputs.sum(axis=1, keepdims=True) * factor
"""


def release(folder: Path, version: int = 1, **files: str) -> Release:
    """Make a model's files."""
    model = folder / f"files-{version}"
    model.mkdir()
    for name, content in ({"model.keras": "2.0"} | files).items():
        (model / name.replace("__", ".")).write_text(content)
    manifest = {"params": {"x": 0.5}, "metrics": {"loss": 0.25}, "run": 7, "trial": 12}
    return Release("digits", version, model, manifest)


@pytest.fixture
def deployer(tmp_path: Path) -> PackageDeployer:
    return PackageDeployer("digits", tmp_path / "models")


def test_a_version_is_staged_tried_switched_and_verified(
    deployer: PackageDeployer, tmp_path: Path
) -> None:
    made = release(tmp_path)
    assert deployer.serving() is None
    for _ in range(2):
        deployer.stage(made)
        assert deployer.try_out(made).passed
    assert deployer.serving() is None, "staging serves nobody"
    for _ in range(2):
        deployer.switch(1)
        assert deployer.serving() == 1
        assert deployer.verify(1).passed
    alias = json.loads((tmp_path / "models/digits/champion.json").read_text())
    assert (tmp_path / "models/digits" / alias["package"]).exists()


def test_back_and_forth(deployer: PackageDeployer, tmp_path: Path) -> None:
    for version in (1, 2):
        deployer.stage(release(tmp_path, version))
    for version in (1, 2, 1):
        deployer.switch(version)
        assert deployer.serving() == version
        assert not deployer.verify(3 - version).passed
    with pytest.raises(SpecError, match="version 1 of digits is served"):
        deployer.drop(1)
    deployer.drop(2)
    deployer.drop(2)
    with pytest.raises(NotFound, match="version 2 of digits is not staged"):
        deployer.switch(2)


def test_the_same_files_make_the_same_package(tmp_path: Path) -> None:
    made = release(tmp_path)
    for name in ("one.zip", "other.zip"):
        pack(made, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_a_model_is_packed_a_piece_at_a_time(tmp_path: Path, deployer: PackageDeployer) -> None:
    made, size = release(tmp_path), 64 << 20
    with (tmp_path / "files-1" / "weights").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        deployer.stage(made)
        assert deployer.try_out(made).passed
        deployer.switch(1)
        assert deployer.verify(1).passed
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 4


def test_a_package_says_what_it_is(deployer: PackageDeployer, tmp_path: Path) -> None:
    deployer.stage(release(tmp_path, sample__json='{"instances": [], "predictions": []}'))
    with zipfile.ZipFile(tmp_path / "models/digits/v0001/digits-v1.zip") as archive:
        names = set(archive.namelist())
        read = {name: archive.read(name).decode() for name in names}
    assert names == {
        *("README.md", "load.py", "manifest.json", "metrics.json", "model/model.keras"),
        *("model/sample.json", "parameters.json", "sample.json"),
    }
    assert json.loads(read["parameters.json"]) == {"x": 0.5}
    assert json.loads(read["metrics.json"]) == {"loss": 0.25}
    assert json.loads(read["manifest.json"])["files"].keys() == names - {"manifest.json"}
    assert "digits, version 1" in read["README.md"]
    assert "trial 12 of run 7" in read["README.md"]


def test_without_files_there_is_no_package(deployer: PackageDeployer, tmp_path: Path) -> None:
    empty = Release("digits", 1, tmp_path / "nothing", {})
    with pytest.raises(TransientError, match="nothing: no files of version 1, and its package is"):
        deployer.stage(empty)
    assert deployer.try_out(empty) == "the package is not there"


def test_a_package_outlives_the_files_it_was_made_of(
    deployer: PackageDeployer, tmp_path: Path
) -> None:
    made = release(tmp_path)
    deployer.stage(made)
    shutil.rmtree(made.files)
    deployer.stage(made)
    assert deployer.try_out(made).passed
    with zipfile.ZipFile(tmp_path / "models/digits/v0001/digits-v1.zip") as archive:
        assert archive.read("model/model.keras") == b"2.0"


def test_a_file_that_cannot_be_read_is_not_packed_as_an_empty_one(
    deployer: PackageDeployer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = release(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "model.keras")
    with pytest.raises(TransientError, match=r"model\.keras: cannot be read"):
        deployer.stage(made)


def test_an_alias_whose_package_is_gone_serves_nothing(
    deployer: PackageDeployer, tmp_path: Path
) -> None:
    made = release(tmp_path)
    deployer.stage(made)
    deployer.switch(1)
    shutil.rmtree(tmp_path / "models/digits/v0001")
    assert deployer.serving() is None
    with pytest.raises(SpecError, match="version 1 of digits is served"):
        deployer.drop(1)
    deployer.stage(made)
    assert deployer.serving() == 1


def test_a_package_that_was_changed_is_found_out(deployer: PackageDeployer, tmp_path: Path) -> None:
    made = release(tmp_path)
    deployer.stage(made)
    deployer.switch(1)
    file = tmp_path / "models/digits/v0001/digits-v1.zip"
    file.write_bytes(file.read_bytes() + b"x")
    assert "is not what" in deployer.verify(1)
    file.write_bytes(b"no zip")
    assert "cannot be unpacked" in deployer.try_out(made)
    file.unlink()
    assert deployer.try_out(made) == "the package is not there"
    assert "which is not there" in deployer.verify(1)
    deployer.stage(made)
    assert deployer.verify(1).passed, "staging mends it"


@pytest.fixture
def checked(tmp_path: Path) -> PackageDeployer:
    """A deployer whose Python has a fake Keras beside numpy."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "keras.py").write_text(FAKE_KERAS)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/fake exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return PackageDeployer("digits", tmp_path / "models", python=python)


@pytest.mark.parametrize(
    ("sample", "trouble"),
    [
        ({"instances": [[1, 2]], "predictions": [[6.0]]}, ""),
        ({"instances": [[1, 2]], "predictions": [[7.0]]}, "answers differ from those"),
        ({"instances": [[1, 2]], "predictions": [[6.0], [6.0]]}, "another shape"),
        ({"instances": [[1, 2]]}, "KeyError"),
        ({"instances": [[1, NAN]], "predictions": [[6.0]]}, "by up to inf"),
        ({"instances": [[1, 2], [1, NAN]], "predictions": [[6.0], [6.0]]}, "by up to inf"),
    ],
)
def test_a_package_answers_its_sample_as_the_training_did(
    checked: PackageDeployer, tmp_path: Path, sample: dict[str, Any], trouble: str
) -> None:
    made = release(tmp_path, sample__json=json.dumps(sample))
    checked.stage(made)
    found = checked.try_out(made)
    assert found.passed == (not trouble)
    assert trouble in found


class TestPackage(DeployerContract):
    @pytest.fixture
    def deployer(self, checked: PackageDeployer) -> PackageDeployer:
        return checked

    @pytest.fixture
    def release(self, tmp_path: Path) -> MakeRelease:
        def made(version: int, *, good: bool = True) -> Release:
            answer = 6.0 if good else 7.0
            sample = {"instances": [[1, 2]], "predictions": [[answer]]}
            folder = Path(tempfile.mkdtemp(dir=tmp_path))
            return release(folder, version, sample__json=json.dumps(sample))

        return made


class TestPackageInAnObjectStore(TestPackage):
    """The store is a fake: the memory of this process."""

    @pytest.fixture
    def deployer(self, checked: PackageDeployer) -> PackageDeployer:
        root = UPath(f"memory://{uuid.uuid4().hex}")
        return dataclasses.replace(checked, root=root)


def test_packages_lie_where_the_deployment_lets_them(tmp_path: Path) -> None:
    options = {"uri": f"file://{tmp_path}/other"}
    with pytest.raises(SpecError, match="this installation offers no place"):
        PackageDeployer.at("digits", options, tmp_path, {})
    offers = {f"file://{tmp_path}": dict}
    found = PackageDeployer.at("digits", options, tmp_path, offers)
    found.stage(release(tmp_path))
    assert (tmp_path / "other/digits/v0001").is_dir()
    with pytest.raises(SpecError, match=r"deploy\.options: unknown key .*'uri'"):
        PackageDeployer.at("digits", {"url": "x"}, tmp_path, offers)


def test_a_python_is_found_on_a_path(tmp_path: Path) -> None:
    (tmp_path / "python").touch()
    assert interpreter(f"/nowhere:{tmp_path}") == tmp_path / "python"
    assert interpreter("") is None
    assert interpreter(str(Path(sys.executable).parent)) is None, "Airflow's own has no Keras"


def test_an_environment_made_by_the_same_python_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    assert interpreter(str(tmp_path)) == tmp_path / "python"
