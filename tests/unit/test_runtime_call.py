"""A Python function as a trial: what it is called with, what it may return, what is said if not."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.collectors import Source
from hpo_lib.collectors.xcom import XcomCollector
from hpo_lib.runtime import call
from hpo_lib.spec.sections import Metrics

MODULE = """
import numpy as np

def objective(rate, depth=2):
    return {"loss": np.float32(rate) * depth, "depth": np.int64(depth)}

def anything(**params):
    return {"count": len(params)}

def keyword(*, rate):
    return {"loss": rate}

def number(rate, depth):
    return 0.5

def nothing(rate, depth):
    return {"model": object(), "ok": True, "name": "0.5", "curve": [0.5, 0.25]}

def broken(rate, depth):
    return {}["rate"]

class Net:
    @staticmethod
    def train(rate, depth):
        return {"loss": rate}

VALUE = 3
"""


@pytest.fixture(autouse=True)
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A trial with two parameters, in a folder with `train_here.py`."""
    (tmp_path / "train_here.py").write_text(MODULE)
    (tmp_path / "needy.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HPO_PARAMS", '{"rate": 0.25, "depth": 3}')
    monkeypatch.setenv("HPO_OUTPUT", str(tmp_path / "output"))
    yield tmp_path
    for name in ("train_here", "needy"):
        sys.modules.pop(name, None)


def collected(output: Path, *names: str) -> dict[str, float]:
    """Read what was returned as a trial's outcome is read."""
    source = Source(output / "log.txt", output)
    found = XcomCollector(Metrics(collector="xcom")).collect(source, frozenset(names))
    return {one.metric: one.value for one in found}


def test_what_it_returns_is_collected(trial: Path) -> None:
    assert call.main(["train_here:objective"]) == 0
    assert collected(trial / "output", "loss", "depth") == {"loss": 0.75, "depth": 3}


def test_the_arguments_that_a_command_line_gets_are_not_in_the_way() -> None:
    assert call.main(["train_here:objective", "--rate=0.25", "--depth", "--no-depth"]) == 0


@pytest.mark.parametrize("name", ["anything", "Net.train"])
def test_functions_of_other_kinds(trial: Path, name: str) -> None:
    assert call.main([f"train_here:{name}"]) == 0
    assert collected(trial / "output", "count", "loss") in ({"count": 2}, {"loss": 0.25})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "must be given one package.module:function, got nothing"),
        (["train_here:objective", "x"], "must be given one package.module:function, got"),
        (["train_here.py:objective:x"], "such as train:objective, got train_here.py:objective:x"),
        (["train_here"], "must be package.module:function, such as train:objective, got train_her"),
        (["no_such:f"], "no_such:f: there is no module no_such in "),
        (["train_here.py:objective"], "there is no module train_here.py in "),
        (["train_here:objectiv"], "train_here has no objectiv"),
        (["train_here:VALUE"], "must be a function, got int 3"),
        (["train_here:keyword"], "takes no parameter depth; it takes rate by name"),
        (["train_here:number"], 'must return a mapping of metric to number, such as {"loss": 0.5}'),
        (["train_here:nothing"], "must return at least one number, got dict"),
    ],
)
def test_what_cannot_be_called_or_read_is_told(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], trial: Path
) -> None:
    assert call.main(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert not (trial / "output" / "return.json").exists()


def test_a_parameter_that_is_needed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_PARAMS", '{"learning-rate": 0.25}')
    assert call.main(["train_here:objective"]) == 2
    said = capsys.readouterr().err
    assert "needs rate; the trial's parameters are learning-rate" in said


def test_an_error_of_the_function_is_its_own() -> None:
    with pytest.raises(KeyError):
        call.main(["train_here:broken"])
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        call.main(["needy:f"])


def test_what_is_no_number_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    returned = {"loss": 0.5, "curve": [1, 2], "ok": np.bool_(True), "each": np.array([1.0, 2.0])}
    assert call.metrics("m:f", returned) == {"loss": 0.5}
    names = [line.split(": ")[1].split()[0] for line in capsys.readouterr().err.splitlines()]
    assert names == ["curve", "ok", "each"]


def test_outside_a_trial_it_says_what_it_returns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HPO_OUTPUT")
    assert call.main(["train_here:objective"]) == 0
    assert json.loads(capsys.readouterr().out) == {"loss": 0.75, "depth": 3.0}


def test_a_container_returns_it_where_its_backend_takes_it(
    trial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, absent = trial / "return.json", trial / "none.json"
    there.touch()
    for place in (there, absent):
        monkeypatch.setattr(call, "CONTAINER_RETURNS", place)
        assert call.main(["train_here:objective"]) == 0
    assert json.loads(there.read_text()) == {"loss": 0.75, "depth": 3.0}
    assert not absent.exists()


def test_an_object_store_needs_the_upload(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_OUTPUT", "s3://bucket/x")
    assert call.main(["train_here:objective"]) == 2
    assert "HPO_OUTPUT must be a folder to hold return.json, got s3://" in capsys.readouterr().err


KINDS = st.sampled_from([float, np.float64, np.float32, np.float16, int, np.int32, Decimal])
VALUES = st.integers(-1_000, 1_000) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.tuples(KINDS, VALUES), max_size=5))
def test_a_number_is_returned_as_it_is_whatever_its_kind(
    tmp_path_factory: pytest.TempPathFactory, asked: dict[str, tuple[Any, Any]]
) -> None:
    def number(kind: Any, value: Any) -> Any:
        return kind(value) if math.isfinite(value) or kind in (float, np.float64) else value

    given = {name: number(*one) for name, one in asked.items()}
    place = tmp_path_factory.mktemp("call")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_OUTPUT", str(place))
        call.say({name: call._number(one) for name, one in given.items()})
    found = collected(place, *given)
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert found[name] == float(value) or math.isnan(found[name]) == math.isnan(value)
