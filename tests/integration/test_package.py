"""Packages: what is in them, what is found out about them, and the alias."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import uuid
import zipfile
from pathlib import Path
from typing import Any

import joblib
import pytest
from upath import UPath

import hpo_lib.deployers.loader
from hpo_lib.deployers import Release
from hpo_lib.deployers.package import PackageDeployer, interpreter, pack
from hpo_lib.errors import NotFound, SpecError, TransientError, TrialFailed
from tests.integration.deployer_contract import DeployerContract, MakeRelease

NAN = float("nan")
KERAS = Path(__file__).resolve().parents[2] / ".venv-trial" / "bin" / "python"
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
    look = os.open

    def refused(path: str, *how: Any, **where: Any) -> int:
        if Path(path).name == "model.keras":
            raise PermissionError(13, "Permission denied", path)
        return look(path, *how, **where)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(TrialFailed, match=r"model\.keras may not be read"):
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


#: Fakes of libraries that are not installed here: their models add up their inputs.
FAKES = {
    "xgboost": """
class DMatrix:
    def __init__(self, rows): self.rows = rows
class Booster:
    def __init__(self, model_file): assert '"learner"' in open(model_file).read()
    def predict(self, data, validate_features=True): return data.rows.sum(axis=1, keepdims=True)
""",
    "lightgbm": """
class Booster:
    def __init__(self, model_file): assert open(model_file).read().startswith("tree")
    def predict(self, rows): return rows.sum(axis=1, keepdims=True)
""",
    "catboost": """
class CatBoost:
    def load_model(self, path): return self
    def predict(self, rows): return rows.sum(axis=1, keepdims=True)
""",
    "onnxruntime": """
class Input:
    name, type = "x", "tensor(float)"
class InferenceSession:
    def __init__(self, path, providers): pass
    def get_inputs(self): return [Input]
    def run(self, names, given): return [given["x"].sum(axis=1, keepdims=True)]
""",
    "torch": """
from contextlib import nullcontext as no_grad
from_numpy = lambda rows: rows
class Answer:
    def __init__(self, rows): self.rows = rows
    def numpy(self): return self.rows
class Script:
    def eval(self): return self
    def __call__(self, rows): return Answer(rows.sum(axis=1, keepdims=True))
class jit:
    load = staticmethod(lambda path, map_location: Script())
def load(path, map_location, weights_only):
    assert weights_only
    return {"weight": 1.0}
""",
}
GOOD_SAMPLE = json.dumps({"instances": [[1, 2]], "predictions": [[3.0]]})
OWN = "load.py` knows no kind of model"


def script(folder: Path) -> None:
    """Write what looks as TorchScript does."""
    with zipfile.ZipFile(folder / "model.pt", "w") as archive:
        archive.writestr("model/code/__torch__.py", "")


def packaged(folder: Path, sample: str | None = GOOD_SAMPLE, **files: str) -> tuple[Release, str]:
    """Make a release of these files alone, and give the README of its package."""
    folder.mkdir()
    for name, content in files.items():
        place = folder / name.replace("__", ".").replace("_IN_", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    if sample is not None:
        (folder / "sample.json").write_text(sample)
    (folder / "metadata.json").write_text("{}")
    made = Release("digits", 1, folder, {"metrics": {}, "run": 7, "trial": 12})
    return made, said_of(made, folder.parent / "package.zip")


def said_of(made: Release, target: Path) -> str:
    pack(made, target)
    with zipfile.ZipFile(target) as archive:
        return archive.read("README.md").decode()


@pytest.fixture
def own(tmp_path: Path) -> PackageDeployer:
    """A deployer whose Python has the fakes beside numpy and joblib."""
    for name, code in FAKES.items():
        (tmp_path / "fake").mkdir(exist_ok=True)
        (tmp_path / "fake" / f"{name}.py").write_text(code)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/fake exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return PackageDeployer("digits", tmp_path / "models", python=python)


@pytest.mark.parametrize(
    ("files", "needs"),
    [
        ({"model__json": '{"learner": {"objective": {}}, "version": [2, 1, 0]}'}, "xgboost"),
        ({"model__ubj": '"learner"'}, "xgboost"),
        ({"model__txt": "tree\nversion=v4\n", "notes__txt": "a tree"}, "lightgbm"),
        ({"model__cbm": "CBM1"}, "catboost"),
        ({"model__onnx": "x"}, "onnxruntime"),
    ],
)
def test_a_model_is_loaded_by_what_it_is(
    own: PackageDeployer, tmp_path: Path, files: dict[str, str], needs: str
) -> None:
    made, readme = packaged(tmp_path / "files", **files)
    assert f"It needs {needs}, numpy." in readme
    assert "keras" not in readme.lower()
    assert "`python load.py --check` loads `model/model." in readme
    own.stage(made)
    assert own.try_out(made) == ""
    (made.files / "sample.json").write_text(GOOD_SAMPLE.replace("3.0", "4.0"))
    own.stage(made)
    assert "answers differ from those" in own.try_out(made), "it was loaded, and asked"


def test_a_script_of_torch_is_asked_and_weights_are_only_loaded(
    own: PackageDeployer, tmp_path: Path
) -> None:
    made, readme = packaged(tmp_path / "files", model__pt="weights")
    assert "It needs torch, numpy." in readme
    own.stage(made)
    assert own.try_out(made).passed
    assert told(own, tmp_path, "--check") == (
        0,
        "not checked: it holds weights alone; load() gives them, for a network of your own",
    )
    script(tmp_path / "files")
    own.stage(made)
    assert told(own, tmp_path, "--check") == (0, "1 answers agree within 0")


def told(own: PackageDeployer, tmp_path: Path, *words: str) -> tuple[int, str]:
    """Run the package's load.py and give its code and the last line that it says."""
    folder = tmp_path / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(own._package(1)) as archive:  # type: ignore[arg-type]
        archive.extractall(folder)
    assert own.python is not None
    done = subprocess.run(
        [own.python, "load.py", *words],
        cwd=folder,
        input='{"instances": [[1, 2]]}',
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()[-1]


class Evil:
    """A pickle that leaves a trace when it is loaded; then it is a sum."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        code = f"(open({str(self.trace)!r}, 'w').close(), __import__('types').SimpleNamespace("
        return eval, (f"{code}predict=lambda rows: rows.sum(axis=1, keepdims=True)))[1]",)


def test_what_torch_exports_is_not_loaded_without_trust(
    own: PackageDeployer, tmp_path: Path
) -> None:
    made, readme = packaged(tmp_path / "files", model__pt2="x")
    assert "`model/model.pt2` may hold pickles: loading it runs code" in readme
    own.stage(made)
    assert own.try_out(made).passed
    code, line = told(own, tmp_path, "--check")
    assert (code, line.startswith("not checked: model.pt2 may hold pickles")) == (0, True)


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "forest.pickle"])
def test_a_pickle_is_loaded_by_those_alone_who_trust_it(
    own: PackageDeployer, tmp_path: Path, name: str
) -> None:
    made, _ = packaged(tmp_path / "files")
    trace = tmp_path / "trace"
    if name.endswith(".joblib"):
        joblib.dump(Evil(trace), made.files / name)
    else:
        Path(str(made.files / name)).write_bytes(pickle.dumps(Evil(trace)))
    own.stage(made)
    assert own.try_out(made).passed
    readme = said_of(made, tmp_path / "package.zip")
    assert f"`model/{name}` is a pickle" in readme
    assert "`python load.py --trust --check` loads" in readme
    code, line = told(own, tmp_path, "--check")
    assert (code, line.startswith(f"not checked: {name} is a pickle")) == (0, True)
    code, line = told(own, tmp_path)
    assert (code, "--trust" in line) == (1, True)
    assert not trace.exists(), "nothing has loaded it yet"
    assert told(own, tmp_path, "--trust", "--check") == (0, "1 answers agree within 0")
    assert told(own, tmp_path, "--trust") == (0, '{"predictions": [[3.0]]}')
    assert trace.exists()


def test_the_smoke_test_loads_a_pickle_where_the_installation_allows_that(
    own: PackageDeployer, tmp_path: Path
) -> None:
    made, _ = packaged(tmp_path / "files")
    trace = tmp_path / "trace"
    joblib.dump(Evil(trace), made.files / "model.joblib")
    allowing = dataclasses.replace(own, allow_pickle=True)
    allowing.stage(made)
    assert allowing.try_out(made).passed
    assert trace.exists()
    (made.files / "sample.json").write_text(GOOD_SAMPLE.replace("3.0", "4.0"))
    allowing.stage(made)
    assert "answers differ from those" in allowing.try_out(made)


def model_of(package: Path) -> dict[str, Any]:
    """Read what a package's manifest says of its model."""
    with zipfile.ZipFile(package) as archive:
        found: dict[str, Any] = json.loads(archive.read("manifest.json"))["model"]
    return found


def test_a_manifest_says_what_the_model_is(tmp_path: Path) -> None:
    made, _ = packaged(tmp_path / "files", model__ubj="x", vocabulary__json="[]")
    versions = {"xgboost": "3.2.0", "python": "3.11"}
    said = dataclasses.replace(made, manifest={"training": {"versions": versions}})
    pack(said, tmp_path / "said.zip")
    found = model_of(tmp_path / "said.zip")
    lines = subprocess.run(
        "LC_ALL=C sha256sum -- * | sha256sum",
        shell=True,
        cwd=tmp_path / "files",
        capture_output=True,
        text=True,
        check=True,
    )
    assert found == {
        "name": "digits",
        "shape": "xgboost",
        "file": "model.ubj",
        "pickle": False,
        "needs": {"xgboost": "3.2.0", "numpy": None},
        "signature": {"instances": [None, 2], "predictions": [None, 1]},
        "sha256": lines.stdout.split()[0],
    }


def test_a_package_that_mlserver_serves_says_how(tmp_path: Path) -> None:
    packaged(tmp_path / "files", model__ubj="x")
    with zipfile.ZipFile(tmp_path / "package.zip") as archive:
        settings = json.loads(archive.read("model-settings.json"))
    assert settings == {
        "name": "digits",
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": "./model/model.ubj", "version": "1"},
    }
    packaged(tmp_path / "others", model__pkl="x")
    with zipfile.ZipFile(tmp_path / "package.zip") as archive:
        assert "model-settings.json" not in archive.namelist()


@pytest.mark.parametrize(
    ("sample", "signature"),
    [
        (None, None),
        ("no JSON", None),
        (
            '{"instances": [{"a": 1, "b": [1, 2]}], "predictions": ["yes"]}',
            {"instances": {"a": [None], "b": [None, 2]}, "predictions": [None]},
        ),
        (
            '{"instances": [[[]]], "predictions": [[[1, 2]]]}',
            {"instances": [None, 1, 0], "predictions": [None, 1, 2]},
        ),
    ],
)
def test_a_signature_is_what_the_sample_shows(
    tmp_path: Path, sample: str | None, signature: Any
) -> None:
    packaged(tmp_path / "files", sample, weights__bin="x")
    found = model_of(tmp_path / "package.zip")
    assert found["signature"] == signature
    assert (found["shape"], found["file"], found["needs"]) == ("folder", None, {})


@pytest.mark.parametrize(
    ("files", "readme"),
    [
        ({"rules__json": '{"weights": [1, 2]}'}, "gives the content of `model/rules.json`"),
        ({"config__json": "{}", "model__safetensors": "x"}, OWN),
        ({"net__weights__h5": "x"}, OWN),
        ({"model__bin": "x"}, OWN),
        ({"notes__txt": "no tree"}, OWN),
    ],
)
def test_what_cannot_predict_is_not_said_to(
    own: PackageDeployer, tmp_path: Path, files: dict[str, str], readme: str
) -> None:
    made, said = packaged(tmp_path / "files", **files)
    assert readme in said
    assert "--check" not in said
    own.stage(made)
    assert own.try_out(made).passed
    code, line = told(own, tmp_path, "--check")
    assert (code, line.startswith("not checked: ")) == (0, True)


def test_a_package_without_a_sample_is_not_said_to_have_one(tmp_path: Path) -> None:
    _, readme = packaged(tmp_path / "files", sample=None, model__keras="x")
    assert "--check" not in readme
    assert "`python load.py < inputs.json` predicts." in readme
    assert "It needs keras, numpy." in readme


def test_a_readme_says_which_of_its_needs_are_not_on_the_list(tmp_path: Path) -> None:
    files = {"model__onnx": "x", "requirements__txt": "numpy==2.3\nscikit-learn\n"}
    _, readme = packaged(tmp_path / "files", **files)
    assert "Of that, `model/requirements.txt` does not name onnxruntime." in readme


def test_a_library_that_is_not_there_is_named(own: PackageDeployer, tmp_path: Path) -> None:
    made, _ = packaged(tmp_path / "files", model__onnx="x")
    (tmp_path / "fake" / "onnxruntime.py").unlink()
    own.stage(made)
    said = own.try_out(made)
    assert said == "No module named 'onnxruntime'; model.onnx needs onnxruntime, numpy"


#: Real Keras: one model in every form that it writes, each loaded as a package loads it.
REAL = """
import importlib.util, json, pathlib, shutil, sys
import keras
import numpy as np

root, loader = map(pathlib.Path, sys.argv[1:])
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
rows = [[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]]
sample = {"instances": rows, "predictions": np.asarray(model(np.asarray(rows, "f4"))).tolist()}
forms = {
    "keras": lambda place: model.save(place / "model.keras"),
    "h5": lambda place: model.save(place / "model.h5"),
    "saved": lambda place: model.export(place / "saved_model" / "1", verbose=False),
}
for name, save in forms.items():
    place = root / name
    (place / "model").mkdir(parents=True)
    save(place / "model")
    (place / "sample.json").write_text(json.dumps(sample))
    shutil.copy(loader, place / "load.py")
    found = importlib.util.spec_from_file_location(name, place / "load.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    print(name, module.found_in(module.MODEL)[0], module.check(), flush=True)
"""


@pytest.mark.skipif(not KERAS.exists(), reason="no Keras: make setup")
def test_real_keras_is_loaded_from_every_form_that_it_writes(tmp_path: Path) -> None:
    loader = Path(hpo_lib.deployers.loader.__file__)
    done = subprocess.run(
        [KERAS, "-c", REAL, tmp_path, loader],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if "answers agree" in line]
    assert [line.split()[:2] for line in lines] == [
        ["keras", "model.keras"],
        ["h5", "model.h5"],
        ["saved", "saved_model/1/saved_model.pb"],
    ]


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
