"""What becomes of an attempt whose metrics are there, are not, or cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from hpo_lib.collectors import Source, own_format
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause, Observation
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState
from hpo_lib.registry import ALLOWED_COLLECTORS
from hpo_lib.runs import admission
from hpo_lib.spec import Spec, load
from hpo_lib.spec.sections import Metrics
from hpo_lib.trials import outcome

GOOD_END = Exit(Ending.EXITED, 0)
CONF: dict[str, Any] = {
    "name": "iris",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"lr": {"type": "float", "low": 0.001, "high": 1.0}},
    "trial": {"command": ["python", "train.py"]},
}


class Reader:
    """A collector of one's own that does what its path says."""

    def __init__(self, settings: Metrics) -> None:
        self.path = settings.path

    def collect(self, source: Source, wanted: frozenset[str]) -> Iterator[Observation]:
        yield Observation("loss", Decimal("0.5"), step=Decimal(3))  # type: ignore[arg-type]
        yield Observation("unwanted", 1.0)
        if self.path == "broken":
            raise KeyError("epoch")


def spec(**metrics: str) -> Spec:
    return load(CONF | {"metrics": metrics})


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(ALLOWED_COLLECTORS, __name__)
    return f"{__name__}:Reader"


def test_a_format_without_end_fails_the_trial_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_format, "FORMAT_S", 1)
    (tmp_path / "log.txt").write_text("loss " + "a" * 4_000)
    form = "(?P<name>(a+)+)=(?P<value>b)"
    found = outcome.outcome(spec(format=form), GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason.startswith("metrics.format: must match a log within 1 s of CPU time and")
    assert form in found.reason


def test_metrics_and_the_end_of_the_log_come_from_an_object_store(tmp_path: Path) -> None:
    folder = UPath(f"memory://{tmp_path}")
    (folder / "log.txt").write_bytes(b"loss=0.5\nbye\n")
    found = outcome.outcome(spec(), GOOD_END, Source(folder / "log.txt", folder))
    assert (found.state, found.value) == (AttemptState.SUCCEEDED, 0.5)
    assert found.log_tail == "loss=0.5\nbye\n"


def test_an_outage_is_not_a_missing_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UPath(f"memory://{tmp_path}")

    def fail(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(folder.fs), "open", fail)
    with pytest.raises(TransientError, match=r"log\.txt: cannot be reached: no route to host"):
        outcome.outcome(spec(), GOOD_END, Source(folder / "log.txt", folder))


def test_a_collector_of_ones_own_is_read_with_plain_numbers(tmp_path: Path, own: str) -> None:
    found = outcome.outcome(spec(collector=own), GOOD_END, Source(tmp_path / "x", tmp_path))
    assert found.observations == [Observation("loss", 0.5, 3)]
    assert [type(one.value) for one in found.observations] == [float]


def test_a_collector_that_breaks_leaves_the_objective_missing(tmp_path: Path, own: str) -> None:
    settings = spec(collector=own, path="broken")
    found = outcome.outcome(settings, GOOD_END, Source(tmp_path / "x", tmp_path))
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason == f"the collector {own} failed: KeyError: 'epoch'"


def test_a_collector_that_cannot_be_loaded_is_refused_before_the_run(
    tmp_path: Path, own: str
) -> None:
    installation = Installation(tmp_path, {})
    conf = CONF | {"metrics": {"collector": f"{__name__}:Writer"}}
    with pytest.raises(SpecError, match=r"cannot be loaded: .*has no attribute 'Writer'"):
        admission.validate(conf, installation, backend="local")
