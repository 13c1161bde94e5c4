"""Load this model and predict, or check that it answers its sample as it did when it was trained.

    python load.py --check
    python load.py < inputs.json        {"instances": [...]} in, {"predictions": [...]} out

In Python: `from load import load, predict`, then `predict(inputs)`; `load()` gives the model as
its own library has it. A pickle runs whatever code its maker has put into it, so it is loaded only
by `--trust`, or `load(trust=True)`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model"
SAMPLE = HERE / "sample.json"
#: How far answers may lie from those of the training, which may have had other hardware: as a share
#: of them, or in themselves where they are below 1.
TOLERANCE = 1e-3
#: Files beside a model that are none.
_BESIDE = ("sample.json", "metadata.json")
_SAVED_MODEL, _HEAD = "saved_model.pb", 200
#: What ONNX calls the numbers and texts that a model takes; others are float32.
_ONNX = {
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
#: Only the pickle itself says what it needs.
_MAKER = ("what the model was made with",)
#: What `torch.export` has saved may hold pickles, too.
_IS_PICKLE, _HOLDS = "is a pickle", "may hold pickles"


class NotChecked(Exception):
    """There is nothing that this program could compare; the message says why."""


class Kind(NamedTuple):
    """How models of one shape are loaded and asked, and the packages that this needs.

    `predict` is None for what has no way of its own to predict; `pickle` says of what runs its
    maker's code when it is loaded, why that is. `trusting` loads what `load` takes only a part of.
    """

    shape: str
    needs: tuple[str, ...]
    load: Callable[[Path], Any]
    predict: Callable[[Any, Any], Any] | None = None
    pickle: str = ""
    trusting: Callable[[Path], Any] | None = None


class Loaded(NamedTuple):
    """A model as its own library has it, and how it is asked."""

    name: str
    kind: Kind
    model: Any

    def predict(self, rows: Any) -> Any:
        """Give the predictions for a list of rows, as plain lists."""
        if self.kind.predict is None:
            what = self.name or "what is in model/"
            raise NotChecked(
                f"{what} does not say how it predicts; load() gives what there is of it"
            )
        return _plain(self.kind.predict(self.model, rows))


def load(*, trust: bool = False) -> Any:
    """Give the model; of files that are no model that is known here, their folder."""
    return load_from(MODEL, trust=trust).model


def predict(instances: Any, *, trust: bool = False) -> Any:
    """Give the predictions for a list of inputs, as plain lists."""
    return load_from(MODEL, trust=trust).predict(instances)


def load_from(folder: Path, *, trust: bool = False) -> Loaded:
    """Load the model that lies in a folder; NotChecked for a pickle that nobody trusts."""
    name, kind = found_in(folder)
    if kind.pickle and not trust:
        raise NotChecked(
            f"{name} {kind.pickle}, which runs code of its maker when it is loaded: if you trust "
            "that, say --trust, or load(trust=True)"
        )
    how = kind.trusting if trust and kind.trusting else kind.load
    return Loaded(name, kind, how(folder / name))


def check(*, trust: bool = False) -> str:
    """Compare with the sample; gives what to tell, raises ValueError if an answer differs."""
    sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
    answers = predict(sample["instances"], trust=trust)
    worst = _difference(answers, sample["predictions"])
    if worst > TOLERANCE:
        raise ValueError(f"answers differ from those of the training by up to {worst:.3g}")
    return f"{len(answers)} answers agree within {worst:.1g}"


def model_of(names: Iterable[str], head: Callable[[str], bytes]) -> tuple[str, Kind]:
    """Choose among the files of a model, by their names and how they begin, what is loaded.

    The name is empty if none of them is known: then it is the folder.
    """
    listed = sorted(name for name in names if name not in _BESIDE)
    for fits, kind in _KINDS:
        found = [name for name in listed if fits(name, head)]
        if found:
            return min(found, key=_rank), kind
    others = [name for name in listed if not name.endswith((".txt", ".md", ".yaml", ".yml"))]
    if len(others) == 1 and others[0].endswith(".json"):
        return others[0], _JSON
    return "", _FOLDER


def _rank(name: str) -> tuple[bool, str]:
    """Put what is called model.… before all else."""
    return not name.rpartition("/")[2].startswith("model."), name


def found_in(folder: Path) -> tuple[str, Kind]:
    """Choose among the files of a folder on this disk."""

    def head(name: str) -> bytes:
        with (folder / name).open("rb") as file:
            return file.read(_HEAD)

    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return model_of(names, head)


def _array(instances: Any) -> Any:
    return import_module("numpy").asarray(instances, dtype="float32")


def _plain(answers: Any) -> Any:
    return import_module("numpy").asarray(answers).tolist()


def _keras(path: Path) -> Any:
    return import_module("keras").saving.load_model(path)


def _call(model: Any, instances: Any) -> Any:
    return model(_array(instances))


def _saved_model(path: Path) -> Any:
    return import_module("tensorflow").saved_model.load(str(path.parent))


def _ask_saved_model(model: Any, instances: Any) -> Any:
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    (answers,) = signature(
        **{name: import_module("tensorflow").constant(_array(instances))}
    ).values()
    return answers


def _xgboost(path: Path) -> Any:
    return import_module("xgboost").Booster(model_file=str(path))


def _ask_xgboost(model: Any, instances: Any) -> Any:
    rows = import_module("xgboost").DMatrix(_array(instances))
    return model.predict(rows, validate_features=False)  # rows have no names of features


def _lightgbm(path: Path) -> Any:
    return import_module("lightgbm").Booster(model_file=str(path))


def _catboost(path: Path) -> Any:
    return import_module("catboost").CatBoost().load_model(str(path))


def _onnx(path: Path) -> Any:
    session = import_module("onnxruntime").InferenceSession
    return session(str(path), providers=["CPUExecutionProvider"])


def _ask_onnx(model: Any, instances: Any) -> Any:
    taken, *others = model.get_inputs()
    if others:
        raise NotChecked("it takes several inputs; load() gives the session, to be asked by name")
    rows = import_module("numpy").asarray(instances, dtype=_ONNX.get(taken.type, "float32"))
    return model.run(None, {taken.name: rows})[0]


def _exported(path: Path) -> Any:
    return import_module("torch").export.load(path).module()


def _torch(path: Path) -> Any:
    """Load a program of TorchScript, or else weights: nothing of a pickle but tensors."""
    torch = import_module("torch")
    if _is_script(path):
        return torch.jit.load(str(path), map_location="cpu").eval()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except import_module("pickle").UnpicklingError:
        raise NotChecked(
            f"{path.name} is a pickle of more than weights, which needs its class and runs code of "
            "its maker: leave a network as TorchScript"
        ) from None


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _ask_torch(model: Any, instances: Any) -> Any:
    torch = import_module("torch")
    if not callable(model):
        raise NotChecked("it holds weights alone; load() gives them, for a network of your own")
    with torch.no_grad():
        return model(torch.from_numpy(_array(instances))).numpy()


def _skops(path: Path) -> Any:
    """Load the types that skops trusts, and no others: nothing that runs code of its maker."""
    skops = import_module("skops.io")
    if unknown := skops.get_untrusted_types(file=path):
        raise NotChecked(
            f"{path.name} holds types that skops does not trust: {', '.join(unknown)}; if you do, "
            "say --trust, or load(trust=True)"
        )
    return skops.load(path)


def _trusted_skops(path: Path) -> Any:
    skops = import_module("skops.io")
    return skops.load(path, trusted=skops.get_untrusted_types(file=path))


def _joblib(path: Path) -> Any:
    return import_module("joblib").load(path)


def _pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return import_module("pickle").load(file)


def _ask(model: Any, instances: Any) -> Any:
    return model.predict(_array(instances))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _folder(path: Path) -> Path:
    return path


def _ends(*endings: str) -> Callable[[str, Callable[[str], bytes]], bool]:
    return lambda name, _: name.endswith(endings)


def _is_keras_h5(name: str, _: Callable[[str], bytes]) -> bool:
    return name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")


def _is_xgboost(name: str, head: Callable[[str], bytes]) -> bool:
    if name.endswith(".json"):
        return b'"learner"' in head(name)[:_HEAD]
    return name.endswith(".ubj")


def _is_lightgbm(name: str, head: Callable[[str], bytes]) -> bool:
    return name.endswith(".txt") and head(name).startswith(b"tree\n")


_JSON, _FOLDER = Kind("json", (), _json), Kind("folder", (), _folder)
#: A shape of models each. The first that fits one of the files counts.
_KINDS: list[tuple[Callable[[str, Callable[[str], bytes]], bool], Kind]] = [
    (_ends(".keras"), Kind("keras", ("keras", "numpy"), _keras, _call)),
    (
        _ends(_SAVED_MODEL),
        Kind("saved_model", ("tensorflow", "numpy"), _saved_model, _ask_saved_model),
    ),
    (_is_xgboost, Kind("xgboost", ("xgboost", "numpy"), _xgboost, _ask_xgboost)),
    (_is_lightgbm, Kind("lightgbm", ("lightgbm", "numpy"), _lightgbm, _ask)),
    (_ends(".cbm"), Kind("catboost", ("catboost", "numpy"), _catboost, _ask)),
    (_ends(".onnx"), Kind("onnx", ("onnxruntime", "numpy"), _onnx, _ask_onnx)),
    (
        _ends(".skops"),
        Kind("skops", ("skops", "scikit-learn", "numpy"), _skops, _ask, trusting=_trusted_skops),
    ),
    (_is_keras_h5, Kind("keras_h5", ("keras", "h5py", "numpy"), _keras, _call)),
    (_ends(".pt2"), Kind("torch_export", ("torch", "numpy"), _exported, _ask_torch, _HOLDS)),
    (_ends(".pt", ".pth"), Kind("torch", ("torch", "numpy"), _torch, _ask_torch)),
    (_ends(".joblib"), Kind("joblib", ("joblib", "numpy", *_MAKER), _joblib, _ask, _IS_PICKLE)),
    (_ends(".pkl", ".pickle"), Kind("pickle", ("numpy", *_MAKER), _pickle, _ask, _IS_PICKLE)),
]


def _difference(one: Any, other: Any) -> float:
    if isinstance(one, list) or isinstance(other, list):
        if not (isinstance(one, list) and isinstance(other, list) and len(one) == len(other)):
            raise ValueError("answers have another shape than those of the training")
        return max((_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, str) or isinstance(other, str):
        return 0.0 if one == other else math.inf
    gap = abs(float(one) - float(other)) / max(1.0, abs(float(other)))
    return gap if gap == gap else math.inf  # NaN is like nothing, and max() passes it over


def main() -> int:
    """Check, or read inputs and write predictions."""
    parser = argparse.ArgumentParser(description="load this model and predict")
    parser.add_argument("--check", action="store_true", help="compare with sample.json")
    parser.add_argument("--trust", action="store_true", help="load a pickle, whose code will run")
    options = parser.parse_args()
    try:
        print("\n".join(_said(options)))
    except ModuleNotFoundError as error:
        name, kind = found_in(MODEL)
        print(f"{error}; {name} needs {', '.join(kind.needs)}", file=sys.stderr)
        return 1
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _said(options: argparse.Namespace) -> Iterator[str]:
    if not options.check:
        asked = json.load(sys.stdin)["instances"]
        yield json.dumps({"predictions": predict(asked, trust=options.trust)})
        return
    try:
        yield check(trust=options.trust)
    except NotChecked as error:
        yield f"not checked: {error}"


if __name__ == "__main__":
    sys.exit(main())
