"""Models of real libraries: trained, packaged, loaded from the package, and served by docker/serve.

Each runs in the environment of trials, or that of HPO_TRIAL_PYTHON; a library that is not there is
skipped. The programs are as short as a user's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from hpo_lib.deployers import Release, loader
from hpo_lib.deployers.package import PackageDeployer
from hpo_lib.deployers.sample import read_sample
from tests.unit import trial_environment
from tests.unit.test_serve import free_port

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "docker" / "serve"
PATIENCE_S = 180.0
#: What the programs below have in common: digits, and a sample of what `answers` says of five rows.
BEGIN = """
import json, os, pathlib
import numpy as np
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x, y = x[:300].astype("float32"), y[:300]
output = pathlib.Path(os.environ["HPO_OUTPUT"])
folder = output / "model"
folder.mkdir()
"""
END = """
sample = {"instances": x[:5].tolist(), "predictions": np.asarray(answers(x[:5])).tolist()}
(folder / "sample.json").write_text(json.dumps(sample))
"""


class Case(NamedTuple):
    """What leaves a model: the libraries that it needs, the file, the program, the shape."""

    needs: tuple[str, ...]
    file: str
    shape: str
    program: str


_FOREST = """
from sklearn.ensemble import RandomForestClassifier
forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(x, y)
answers = forest.predict
"""
_XGBOOST = """
import xgboost
booster = xgboost.train({{"objective": "multi:softprob", "num_class": 10, "max_depth": 2}},
                        xgboost.DMatrix(x, y), num_boost_round=3)
booster.save_model(folder / "{file}")
answers = lambda rows: booster.predict(xgboost.DMatrix(rows))
"""
_NETWORK = """
import torch
network = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Dropout(),
                              torch.nn.Linear(16, 10)).eval()
answers = lambda rows: network(torch.from_numpy(rows)).detach().numpy()
"""
#: A line: y = a x + b, over 64 features, written with nothing but numpy and onnx.
_ONNX = """
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
weights = np.linspace(-1, 1, 64, dtype="float{bits}").reshape(64, 1)
kind = T.{kind}
graph = h.make_graph(
    [h.make_node("MatMul", ["rows", "weights"], ["line"])], "line",
    [h.make_tensor_value_info("rows", kind, ["n", 64])],
    [h.make_tensor_value_info("line", kind, ["n", 1])], [n.from_array(weights, "weights")])
made = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
onnx.save(made, folder / "model.onnx")
answers = lambda rows: rows @ weights
"""
CASES = {
    "skops": Case(
        ("sklearn", "skops"),
        "model.skops",
        "skops",
        "from sklearn.linear_model import LogisticRegression\n"
        "line = LogisticRegression(max_iter=20).fit(x, y)\nanswers = line.predict\n"
        "import skops.io\nskops.io.dump(line, folder / 'model.skops')",
    ),
    "xgboost ubj": Case(("xgboost",), "model.ubj", "xgboost", _XGBOOST.format(file="model.ubj")),
    "xgboost json": Case(("xgboost",), "model.json", "xgboost", _XGBOOST.format(file="model.json")),
    "onnx": Case(
        ("onnx", "onnxruntime"), "model.onnx", "onnx", _ONNX.format(bits=32, kind="FLOAT")
    ),
    "onnx of doubles": Case(
        ("onnx", "onnxruntime"), "model.onnx", "onnx", _ONNX.format(bits=64, kind="DOUBLE")
    ),
    "onnx of sklearn": Case(
        ("skl2onnx", "onnxruntime"),
        "model.onnx",
        "onnx",
        _FOREST
        + "from skl2onnx import to_onnx\n"
        + "made = to_onnx(forest, x[:1]).SerializeToString()\n"
        + "(folder / 'model.onnx').write_bytes(made)",
    ),
    "torchscript": Case(
        ("torch",),
        "model.pt",
        "torch",
        _NETWORK + "torch.jit.trace(network, torch.zeros(1, 64)).save(folder / 'model.pt')",
    ),
}
#: What runs code of its maker when it is loaded.
PICKLES = {
    "joblib": Case(
        ("sklearn",),
        "model.joblib",
        "joblib",
        _FOREST + "import joblib\njoblib.dump(forest, folder / 'model.joblib')",
    ),
    "pickle": Case(
        ("sklearn",),
        "model.pkl",
        "pickle",
        _FOREST + "import pickle\npickle.dump(forest, open(folder / 'model.pkl', 'wb'))",
    ),
    "torch.export": Case(
        ("torch",),
        "model.pt2",
        "torch_export",
        _NETWORK
        + "some = torch.export.Dim('some')\n"
        + "shapes = {'input': {0: some}}\n"
        + "program = torch.export.export(network, (torch.zeros(2, 64),), dynamic_shapes=shapes)\n"
        + "torch.export.save(program, folder / 'model.pt2')",
    ),
}


def trained(case: Case, output: Path) -> Path:
    """Have the environment of trials leave a model; gives its folder."""
    needs(*case.needs)
    trial_environment.run(BEGIN + case.program + END, output)
    return output / "model"


def needs(*modules: str) -> None:
    """Skip where the environment of trials lacks one of these."""
    if not trial_environment.has(*modules):
        pytest.skip(f"the environment of trials lacks one of {', '.join(modules)}")


def packaged(model: Path, folder: Path, *, allow_pickle: bool = False) -> PackageDeployer:
    """Make a package, and have it checked by the environment of trials."""
    python = Path(trial_environment.python())
    deployer = PackageDeployer("digits", folder, python=python, allow_pickle=allow_pickle)
    manifest = {"training": {"versions": {"numpy": "2.0"}}}
    release = Release("digits", 1, model, manifest)
    deployer.stage(release)
    assert deployer.try_out(release) == ""
    return deployer


def unpacked(folder: Path) -> Path:
    """Unpack the package that was made below a folder."""
    (file,) = folder.rglob("*.zip")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def check(folder: Path, *words: str) -> str:
    """Run a package's own check with the Python of trials."""
    done = subprocess.run(
        [trial_environment.python(), "load.py", *words, "--check"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out what the image has: the server, and beside it what it is installed with."""
    folder = tmp_path_factory.mktemp("app")
    for file in [*SERVE.glob("*.py"), Path(loader.__file__)]:
        shutil.copy(file, folder)
    pins = (ROOT / "requirements" / "serve.txt").read_text()
    for name in re.findall(r"^([a-z0-9_-]+)==", pins, re.M):
        for top in {one.parts[0] for one in distribution(name).files or () if one.parts[0] != ".."}:
            place = Path(str(distribution(name).locate_file(top)))
            if not (folder / top).exists() and not top.endswith(".dist-info"):
                (folder / top).symlink_to(place)
    return folder


@contextmanager
def served(model: Path, app: Path, **env: str) -> Iterator[httpx.Client]:
    """Serve a model's folder with the real server, in the environment of trials."""
    port = free_port()
    given = {"MODEL_DIR": str(model), "MODEL_NAME": "digits", "PORT": str(port), "DRAIN_S": "0"}
    process = subprocess.Popen(
        [trial_environment.python(), "server.py"],
        cwd=app,
        env={"PATH": os.defpath, "HOME": str(app), **given, **env},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            _until_ready(client, process)
            yield client
    finally:
        process.kill()
        process.wait()


def refused(model: Path, app: Path) -> str:
    """Have the server refuse a model; gives what it says."""
    with pytest.raises(RuntimeError) as refusal, served(model, app):
        pass
    return str(refusal.value)


def _until_ready(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(process.stderr.read()[-2_000:])
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("it does not become ready")


def tensor(sample: Any, name: str = "input") -> dict[str, Any]:
    rows = sample.instances
    shape = [len(rows), len(rows[0])]
    return {"inputs": [{"name": name, "datatype": "FP32", "shape": shape, "data": rows}]}


def assert_answers(client: httpx.Client, model: Path) -> None:
    """Ask by both protocols for the sample, and for what no model of digits can answer."""
    sample = read_sample((model / "sample.json").read_bytes())
    answer = client.post("/v1/models/digits:predict", content=sample.request)
    assert answer.status_code == 200, answer.text
    assert sample.check(answer.content) == ""
    found = client.post("/v2/models/digits/infer", json=tensor(sample)).json()
    (output,) = found["outputs"]
    rows = sample.predictions
    width = len(rows[0]) if isinstance(rows[0], list) else None
    assert output["shape"] == [len(rows)] + ([] if width is None else [width])
    flat = rows if width is None else [value for row in rows for value in row]
    assert output["data"] == pytest.approx(flat, abs=1e-3)
    known = client.get("/v2/models/digits").json()["inputs"]
    assert known == [{"name": "input", "datatype": "FP32", "shape": [-1, 64]}]
    wrong = client.post("/v1/models/digits:predict", json={"instances": [{"a": 1.0}]})
    assert (wrong.status_code, "got an object with names" in wrong.text) == (400, True)
    wrong = client.post("/v1/models/digits:predict", json={"instances": [[1.0, 2.0]]})
    assert (wrong.status_code, wrong.json()["error"]) == (
        400,
        "instances: must have shape [None, 64], got shape [1, 2]",
    )


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_packaged_loaded_and_served(name: str, tmp_path: Path, app: Path) -> None:
    case = CASES[name]
    model = trained(case, tmp_path / "output")
    packaged(model, tmp_path / "models")
    folder = unpacked(tmp_path / "models")
    assert check(folder).startswith("5 answers agree")
    manifest = json.loads((folder / "manifest.json").read_text())["model"]
    assert (manifest["shape"], manifest["file"]) == (case.shape, case.file)
    assert manifest["pickle"] is False
    assert manifest["needs"]["numpy"] == "2.0"
    assert manifest["signature"]["instances"] == [None, 64]
    with served(model, app) as client:
        assert_answers(client, model)


@pytest.mark.needs("HPO_MLSERVER")
def test_mlserver_serves_an_unpacked_package(tmp_path: Path) -> None:
    """HPO_MLSERVER names its program, where mlserver-xgboost is installed too."""
    model = trained(CASES["xgboost ubj"], tmp_path / "output")
    packaged(model, tmp_path / "models")
    port, *others = (str(free_port()) for _ in range(3))
    env = {"PATH": os.defpath, "HOME": str(tmp_path), "MLSERVER_HOST": "127.0.0.1"}
    env |= {"MLSERVER_HTTP_PORT": port, "MLSERVER_PARALLEL_WORKERS": "0"}
    env |= dict(zip(["MLSERVER_GRPC_PORT", "MLSERVER_METRICS_PORT"], others, strict=True))
    process = subprocess.Popen(
        [os.environ["HPO_MLSERVER"], "start", "."],
        cwd=unpacked(tmp_path / "models"),
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    sample = read_sample((model / "sample.json").read_bytes())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            _until_ready(client, process)
            asked = "/v2/models/digits/versions/1/infer"
            (output,) = client.post(asked, json=tensor(sample)).json()["outputs"]
    finally:
        process.kill()
        process.wait()
    flat = [value for row in sample.predictions for value in row]
    assert output["data"] == pytest.approx(flat, abs=1e-3)


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_is_loaded_and_served_where_that_is_allowed(
    name: str, tmp_path: Path, app: Path
) -> None:
    case = PICKLES[name]
    model = trained(case, tmp_path / "output")
    packaged(model, tmp_path / "models", allow_pickle=True)
    folder = unpacked(tmp_path / "models")
    assert json.loads((folder / "manifest.json").read_text())["model"]["pickle"] is True
    assert check(folder).startswith(f"not checked: {case.file} ")
    assert check(folder, "--trust").startswith("5 answers agree")
    assert f"cannot load the model: NoModel: {case.file} " in refused(model, app)
    with served(model, app, HPO_ALLOW_PICKLE="1") as client:
        assert_answers(client, model)


def test_weights_alone_and_types_of_ones_own_are_not_taken_for_a_model(
    tmp_path: Path, app: Path
) -> None:
    weights = "torch.save(network.state_dict(), folder / 'model.pt')"
    whole = "torch.save(network, folder / 'model.pt')"
    for program, why in [(weights, "weights alone"), (whole, "a pickle of more than weights")]:
        output = tmp_path / why.replace(" ", "-")
        model = trained(Case(("torch",), "", "", _NETWORK + program), output)
        packaged(model, output / "models")
        said = check(unpacked(output / "models"))
        assert said.startswith("not checked: ")
        assert why in said


def test_types_that_skops_does_not_trust_need_leave(tmp_path: Path, app: Path) -> None:
    program = _FOREST + "import skops.io\nskops.io.dump(forest, folder / 'model.skops')"
    model = trained(Case(("skops",), "", "", program), tmp_path / "output")
    packaged(model, tmp_path / "models")
    folder = unpacked(tmp_path / "models")
    assert "types that skops does not trust: sklearn.tree._tree.Tree" in check(folder)
    assert check(folder, "--trust").startswith("5 answers agree")
    assert "cannot load the model: NoModel: model.skops holds" in refused(model, app)
    with served(model, app, HPO_ALLOW_PICKLE="1") as client:
        assert_answers(client, model)


def test_a_folder_that_nothing_knows_is_not_served(tmp_path: Path, app: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"x")
    assert "holds no model that predicts; known are" in refused(folder, app)


def example(library: str) -> str:
    """Give the program in docs/deploy.md that imports a library."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.+?)```", text, re.S)
    (found,) = (one for one in programs if f"import {library}\n" in one)
    return found


@pytest.mark.parametrize(
    ("library", "flags", "metric"),
    [
        ("xgboost", ["--eta=0.5", "--max_depth=4"], "test_accuracy"),
        ("torch", ["--lr=0.01", "--units=32"], "val_accuracy"),
    ],
)
def test_an_example_of_the_docs_trains_and_leaves_a_model(
    library: str, flags: list[str], metric: str, tmp_path: Path
) -> None:
    needs(library, "sklearn")
    (tmp_path / "train.py").write_text(example(library))
    done = subprocess.run(
        [trial_environment.python(), "train.py", *flags],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "HPO_OUTPUT": str(tmp_path / "output")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert float(done.stdout.splitlines()[-1].removeprefix(f"{metric}=")) > 0.8
    packaged(tmp_path / "output" / "model", tmp_path / "models")
    assert check(unpacked(tmp_path / "models")).startswith("5 answers agree")
