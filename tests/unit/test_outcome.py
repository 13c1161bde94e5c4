"""What becomes of an attempt whose metrics are there, are not, or cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from hpo_lib.collectors import Source, format_guard, own_format
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause, Observation
from hpo_lib.errors import SpecError, TransientError
from hpo_lib.installation import Installation
from hpo_lib.records import AttemptState
from hpo_lib.registry import ALLOWED_COLLECTORS
from hpo_lib.runs import admission
from hpo_lib.spec import Spec, load
from hpo_lib.spec.sections import Metrics
from hpo_lib.trials import near_names, outcome

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
    monkeypatch.setattr(own_format, "LINE_S", 0.1)
    (tmp_path / "log.txt").write_text(f"loss {'a' * 4_000}\n" * format_guard.MOST_ENDLESS)
    form = "(?P<name>(a+)+)=(?P<value>b)"
    found = outcome.outcome(spec(format=form), GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason.startswith("metrics.format: must match a line within 0.1 s of CPU time and")
    assert form in found.reason


def test_an_objective_is_no_fault_of_a_trial_whose_log_has_a_gap(tmp_path: Path) -> None:
    gap = "the disk of its log was full: 13,122 bytes of it are missing"
    end, log = Exit(Ending.EXITED, 0, gap, gap), tmp_path / "log.txt"
    log.write_text("val_loss=0.5\n")
    found = outcome.outcome(spec(), end, Source(log, tmp_path))
    assert (found.cause, found.reason) == (Cause.LOST, gap)
    log.write_text("loss=0.5\n")
    found = outcome.outcome(spec(), end, Source(log, tmp_path))
    assert (found.cause, found.value, found.reason) == (None, 0.5, f"loss = 0.5; {gap}")


def test_a_file_of_metrics_that_leads_out_is_the_cause_in_words(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "secret").write_text('{"loss": 1}')
    (tmp_path / "output/metrics.jsonl").symlink_to("../secret")
    (tmp_path / "log.txt").symlink_to("/etc/hostname")
    found = outcome.outcome(
        spec(collector="jsonl"), GOOD_END, Source(tmp_path / "log.txt", tmp_path / "output")
    )
    leads = "metrics.jsonl is a link that leads out, to ../secret"
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason == (
        f"{leads}; nothing is read there (in {tmp_path}/output); left alone in its output: {leads}"
    )
    assert found.log_tail.startswith("[hpo] log.txt is a link that leads out, to /etc/hostname")


def test_a_line_without_end_fails_no_good_trial_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_format, "LINE_S", 0.1)
    (tmp_path / "log.txt").write_text(f"loss {'a' * 4_000}\nloss=2\n")
    form = "(?P<name>(a+)+|loss)=(?P<value>[b2])"
    found = outcome.outcome(spec(format=form), GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert (found.state, found.value) == (AttemptState.SUCCEEDED, 2)
    assert found.reason.startswith("loss = 2; line 1 was left out: metrics.format: must match")


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


# ------------------------------------------------------------------------------------ near names


@pytest.mark.parametrize(
    ("wanted", "log", "said"),
    [
        (
            "auc",
            "step=1 auc_1=0.5 loss=0.5 val_auc_1=0.4",
            "only auc_1, loss, val_auc_1 where auc was expected; is it auc_1?",
        ),
        (
            "val_auc",
            "epoch=1 auc_1=0.5 val_auc_2=0.5 val_auc_10=0.4",
            "only auc_1, val_auc_10, val_auc_2 where val_auc was expected; is it val_auc_2?",
        ),
        ("accuracy", "acc=0.5 loss=1", "only acc, loss where accuracy was expected; is it acc?"),
        ("acc", "accuracy=0.5", "only accuracy where acc was expected; is it accuracy?"),
        (
            "val_accuracy",
            "accuracy=0.5 val_acc=1",
            "only accuracy, val_acc where val_accuracy was expected; is it val_acc?",
        ),
        (
            "val_accuracy",
            "accuracy=1 loss=2",
            "only accuracy, loss where val_accuracy was expected; is it accuracy?",
        ),
        ("loss", "val_loss=1", "only val_loss where loss was expected; is it val_loss?"),
        ("auc", "AUC=1", "only AUC where auc was expected; is it AUC?"),
        ("val_loss", "val-loss=1", "only val-loss where val_loss was expected; is it val-loss?"),
        ("f1", "f1_score=1", "only f1_score where f1 was expected; is it f1_score?"),
        (
            "val_loss",
            "val_los=1 step=3",
            "only val_los where val_loss was expected; is it val_los?",
        ),
        ("auc", '{"auc_1": 0.5}', "only auc_1 where auc was expected; is it auc_1?"),
        # Nothing is near: what there is.
        ("auc", "loss=0.5 rmse=1", "only loss, rmse where auc was expected"),
        ("auc", "guard.cc=1 loss=2", "only loss where auc was expected"),
        ("auc", "", "no metric at all where auc was expected"),
    ],
)
def test_a_missing_objective_whose_near_name_exists_says_so(
    tmp_path: Path, wanted: str, log: str, said: str
) -> None:
    (tmp_path / "log.txt").write_text(f"{log}\n")
    made = load(CONF | {"objective": {"metric": wanted, "direction": "minimize"}})
    found = outcome.outcome(made, GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.cause is Cause.OBJECTIVE_MISSING
    assert found.reason == f"exit code 0, but {said}"


def test_a_metric_that_the_spec_knows_is_not_meant_by_another(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("loss=0.5 val_lossy=0.5\n")
    objective = {"metric": "val_loss", "direction": "minimize"}
    made = load(CONF | {"objective": objective, "constraints": ["loss <= 1", "acc >= 0"]})
    found = outcome.outcome(made, GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.reason == (
        "exit code 0, but only loss, val_lossy where val_loss, acc were expected; "
        "is val_loss val_lossy?"
    )


def test_near_names_are_looked_for_in_files_and_folders_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "metrics": {"loss_1": 0.5}}\n')
    source = Source(tmp_path / "none", tmp_path)
    found = outcome.outcome(spec(collector="jsonl"), GOOD_END, source)
    assert found.reason.endswith(" where loss was expected; is it loss_1?")


def test_of_a_long_log_with_many_names_little_is_looked_at_and_less_is_said(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as file:
        file.write("loss_1=0.5\n")
        for number in range(200_000):
            file.write(f"a{number}=1 loss_2=1 {'<b>' * 9}{number}: 3\n")
    found = outcome.outcome(spec(), GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.reason.endswith(" more where loss was expected; is it loss_2?")
    assert len(found.reason) < 300


def test_a_collector_that_cannot_look_gives_no_hint(tmp_path: Path, own: str) -> None:
    objective = {"metric": "losses", "direction": "minimize"}
    made = load(CONF | {"objective": objective, "metrics": {"collector": own}})
    found = outcome.outcome(made, GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.reason == "exit code 0, but no metric at all where losses was expected"


def test_no_hint_is_looked_for_where_nothing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_names, "tail", pytest.fail)
    (tmp_path / "log.txt").write_text("loss=0.5\n")
    found = outcome.outcome(spec(), GOOD_END, Source(tmp_path / "log.txt", tmp_path))
    assert found.value == 0.5


@given(st.text(min_size=1), st.sets(st.text(min_size=1)))
def test_the_name_that_is_meant_is_one_that_was_seen(wanted: str, seen: set[str]) -> None:
    meant = near_names.near(wanted, seen)
    assert meant is None or meant in seen - {wanted}
    assert near_names.near(wanted, {*seen, f"{wanted}_1"}) is not None
