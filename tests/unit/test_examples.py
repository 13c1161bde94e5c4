"""The examples in the docstrings of what people extend: they run, and keep the contract."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hpo_lib.collectors
import hpo_lib.deployers
import hpo_lib.runtime
import hpo_lib.samplers
import hpo_lib.schedulers
from hpo_lib.core.trial import Observation, TrialState
from hpo_lib.files import shipped
from hpo_lib.registry import (
    ALLOWED_COLLECTORS,
    ALLOWED_DEPLOYERS,
    ALLOWED_SAMPLERS,
    ALLOWED_SCHEDULERS,
    BACKENDS,
)
from hpo_lib.registry import (
    load as part,
)
from hpo_lib.runtime import example as example_trial
from hpo_lib.search import engine
from hpo_lib.spec import load
from hpo_lib.spec.sections import Metrics
from hpo_lib.spec.yaml_core import operators
from hpo_lib.validation import parse
from tests.unit.scheduler_contract import Played, SchedulerContract, never, spec

NEEDS = """
import math
from pathlib import Path
from hpo_lib.collectors import to_float
from hpo_lib.core.trial import Assignment, Decision, Observation, Suggestion, TrialState
from hpo_lib.files.lines import lines
from hpo_lib.files.places import below
from hpo_lib.samplers import Sampler, draws, random_params
from hpo_lib.schedulers import NoSettings, Scheduler
from hpo_lib.validation import Strict
"""


def example(module: ModuleType) -> str:
    """Give the indented block of a module's docstring."""
    lines = (module.__doc__ or "").splitlines()
    block = [line for line in lines if line.startswith("    ") or not line.strip()]
    return textwrap.dedent("\n".join(block)).strip() + "\n"


EXAMPLES = {
    "acme_walk": (hpo_lib.samplers, ALLOWED_SAMPLERS),
    "acme_twice": (hpo_lib.schedulers, ALLOWED_SCHEDULERS),
    "acme_words": (hpo_lib.collectors, ALLOWED_COLLECTORS),
    "acme_file": (hpo_lib.deployers, ALLOWED_DEPLOYERS),
}


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put each example into a module of its own, which the operator allows."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, (module, allowed) in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(NEEDS + example(module))
        monkeypatch.setenv(allowed, name)
    yield
    for name in EXAMPLES:
        sys.modules.pop(name, None)


class TestTwice(SchedulerContract):
    @pytest.fixture
    def section(self) -> dict[str, Any]:
        return {"name": "acme_twice:TwiceScheduler"}


def test_a_sampler_of_ones_own_is_asked() -> None:
    section = {"name": "acme_walk:StepSampler", "width": 0.05, "seed": 4}
    made = load(spec({"name": "fifo"}, trials=12).dump() | {"sampler": section})
    played = Played(made, never, order=None, waves=True).play()  # type: ignore[arg-type]
    assert {trial.state for trial in played.history.trials} == {TrialState.COMPLETE}
    first = min(trial.value for trial in played.history.trials[:3] if trial.value is not None)
    best = made.goal.best(played.history.trials)
    assert best is not None
    assert best.value is not None
    assert best.value <= first
    with pytest.raises(ValueError, match=r"sampler: unknown key \"widht\", did you mean 'width'"):
        engine.check(load(made.dump() | {"sampler": section | {"widht": 1}}))


def test_a_collector_of_ones_own_reads(tmp_path: Path) -> None:
    (tmp_path / "metrics.txt").write_text("loss 0.5\nother 1\nloss nothing\nloss 0.25\n")
    name = "acme_words:WordsCollector"
    collector = part("collector", name)(Metrics(collector=name))
    source = hpo_lib.collectors.Source(log=tmp_path / "log.txt", output=tmp_path)
    found = list(collector.collect(source, frozenset({"loss"})))
    assert found == [Observation("loss", 0.5), Observation("loss", 0.25)]


def test_a_deployer_of_ones_own_stages(tmp_path: Path) -> None:
    kind = part("deployer", "acme_file:FileDeployer")
    deployer = kind("iris", parse(kind.Options, {"folder": str(tmp_path)}, at="deploy.options"))
    (tmp_path / "model.keras").write_bytes(b"a model")
    deployer.stage(hpo_lib.deployers.Release("iris", 3, tmp_path, {}))
    assert (tmp_path / "iris-3.keras").read_bytes() == b"a model"


def test_a_training_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPO_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("HPO_PARAMS", '{"rate": 0.25}')
    monkeypatch.setenv("HPO_RESOURCE", "2")
    monkeypatch.setattr(hpo_lib.runtime, "_watch_sigterm", lambda: None)
    exec(example(hpo_lib.runtime), {})
    assert capsys.readouterr().out == "step=1 loss=0.25\nstep=2 loss=0.0625\n"
    assert (tmp_path / "output/model/x.txt").read_text() == "0.25"


def test_the_example_of_the_form_of_local_trials_runs_and_has_something_to_find(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = BACKENDS["local"].example
    spec = load(operators((shipped.examples() / name).read_text(), at=name))
    assert spec.trial.command == ("python", "-m", example_trial.__name__)

    def last(**params: float) -> float:
        assert params.keys() == spec.space.keys()
        monkeypatch.setenv("HPO_PARAMS", json.dumps({**spec.fixed, **params}))
        example_trial.main()
        line = capsys.readouterr().out.splitlines()[-1]
        assert line.startswith(f"step={spec.fixed['epochs']} loss=")
        return float(line.partition("val_loss=")[2])

    good = last(learning_rate=0.2, momentum=0.9, degree=5)
    assert good < last(learning_rate=0.001, momentum=0.0, degree=1)
    assert good < last(learning_rate=1.0, momentum=0.95, degree=9)
