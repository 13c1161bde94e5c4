"""Formats of logs: what libraries print is read, by step, wherever it is clear what is meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from format_contract import LOGS, FormatContract, points, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_lib import registry
from hpo_lib.collectors import Source
from hpo_lib.collectors.numbers import number_at, number_in
from hpo_lib.registry import load
from hpo_lib.spec.sections import Metrics

ROOT = Path(__file__).resolve().parents[2]
TRIAL = ROOT / ".venv-trial" / "bin" / "python"


class TestKeras(FormatContract):
    name, log, number = "keras", LOGS / "keras.log", "0.7130"
    holds: ClassVar = {
        "val_loss": [(1, 0.7141), (2, 0.7130)],
        "val_accuracy": [(1, 0.5156), (2, 0.5312)],
        "PR AUC": [(1, 0.4294), (2, 0.4331), (None, 0.4205)],  # the last is evaluate's
    }


class TestKerasBar(FormatContract):
    """Values of a bar that is not full are means over some batches: they are left out."""

    name, log, number = "keras", LOGS / "keras-bar.log", "0.9053"
    holds: ClassVar = {
        "val_loss": [(1, 0.9139), (2, 0.9053)],
        "loss": [(1, 0.9038), (2, 0.8937), (None, 0.8920)],
    }


class TestKerasWithoutAKnownLength(FormatContract):
    name, log, number = "keras", LOGS / "keras-unknown-length.log", "0.7887"
    holds: ClassVar = {
        "val_loss": [(1, 0.8021), (2, 0.7887)],
        "val_accuracy": [(1, 0.4414), (2, 0.4336)],
    }


class TestLightning(FormatContract):
    """The first full bar of an epoch still shows the last one's val_loss."""

    name, log, number = "lightning", LOGS / "lightning.log", "0.8232112526893616"
    holds: ClassVar = {
        "val_loss": [(None, 0.7203940153121948), (0, 0.63), (1, 0.619)],
        "train_loss_epoch": [(0, 0.642), (1, 0.627)],
        "test_loss": [(None, 0.8232112526893616)],
    }

    def test_a_log_of_the_real_thing_is_read_as_what_it_is(self) -> None:
        found = points(read(self.log, self.holds))
        assert {n: sorted(s, key=str) for n, s in found.items()} == {
            n: sorted(s, key=str) for n, s in self.holds.items()
        }

    def test_it_is_read_so_by_name_too(self) -> None:
        found = points(read(self.log, self.holds, format=self.name))
        assert found["train_loss_epoch"] == self.holds["train_loss_epoch"]

    def passing(self) -> set[tuple[str, tuple[int | None, float]]]:
        return {("train_loss_epoch", (1, 0.642)), ("val_loss", (1, 0.63))}


class TestHuggingFace(FormatContract):
    name, log, number = "huggingface", LOGS / "huggingface.log", "'0.6935'"
    holds: ClassVar = {
        "eval_loss": [(1, 0.6935), (2, 0.6936), (2, 0.6936448812484741)],
        "loss": [(None, 0.693), (None, 0.6933)],  # in the middle of an epoch
        "train_loss": [(2, 0.6931)],
    }

    @pytest.mark.parametrize("wrong", ["1,234.56", "0,532", "9332/13036", "1:30", "0.5.1", "12ms"])
    def test_what_is_not_wholly_a_number_is_never_a_value(self, tmp_path: Path, wrong: str) -> None:
        super().test_what_is_not_wholly_a_number_is_never_a_value(tmp_path, f"'{wrong}'")


class TestXGBoost(FormatContract):
    name, log, number = "xgboost", LOGS / "xgboost.log", "0.27649"
    holds: ClassVar = {
        "validation-logloss": [(0, 0.47506), (1, 0.35623), (2, 0.27649)],
        "train-auc": [(0, 0.99305), (1, 0.99945), (2, 0.99995)],
        "test-logloss": [(0, 0.49638), (1, 0.38861), (2, 0.31674)],  # of cv: the mean
    }


class TestLightGBM(FormatContract):
    """At last it prints the best round again."""

    name, log, number = "lightgbm", LOGS / "lightgbm.log", "0.297"
    number = "0.298618"
    holds: ClassVar = {
        "valid_1's auc": [
            (2, 0.965144),
            (4, 0.969952),
            (6, 0.971154),
            (8, 0.979968),
            (10, 0.979968),
            (8, 0.979968),
        ],
        "valid_1's binary_logloss": [
            (2, 0.55965),
            (4, 0.465558),
            (6, 0.392896),
            (8, 0.338909),
            (10, 0.298618),
            (8, 0.338909),
        ],
        "valid's auc": [(2, 0.980223), (4, 0.982976)],  # of cv: the mean
    }


class TestCatBoost(FormatContract):
    name, log, number = "catboost", LOGS / "catboost.log", "0.4951348"
    holds: ClassVar = {
        "test": [(0, 0.6029136), (1, 0.4951348), (2, 0.4329835)],
        "best": [(0, 0.6029136), (1, 0.4951348), (2, 0.4329835)],
    }

    @pytest.mark.parametrize("wrong", ["1,234.56", "0,532", "9332/13036", "1:30", "0.5.1", "12ms"])
    def test_what_is_not_wholly_a_number_is_never_a_value(self, tmp_path: Path, wrong: str) -> None:
        log = tmp_path / "log.txt"
        log.write_text(self.log.read_text().replace(f"test: {self.number}", f"test: {wrong}"))
        collector = load("collector", "stdout")(Metrics(format=self.name))
        source = Source(log=log, output=tmp_path)
        found = list(collector.collect(source, frozenset({"test"})))  # type: ignore[arg-type]
        assert [one.step for one in found] == [0, 2]
        assert "test must be wholly a number, got" in collector.unreadable["test"]


class TestSkLearn(FormatContract):
    name, log, number = "sklearn", LOGS / "sklearn.log", "0.69346775"
    holds: ClassVar = {
        "loss": [(1, 0.69346775), (2, 0.68991877), (3, 0.68628464)],  # of a network
        "Validation score": [(1, 0.666667), (2, 0.666667), (3, 0.666667)],
        "Avg. loss": [(1, 4.812641), (2, 3.056970)],
        "Train Loss": [(1, 1.2135), (2, 1.0698), (3, 0.9458)],  # of boosting
        "val loss": [(1, 0.61619), (2, 0.55702)],
        "score": [(None, 0.94), (None, 0.92), (None, 0.933), (None, 0.92)],  # a fold each
        "train_score": [(None, 0.933), (None, 0.947), (None, 0.933), (None, 0.947)],
        "roc_auc": [(None, 0.985), (None, 0.979)],
        "inertia": [(0, 3067.9470576157782), (1, 2210.761048552584)],
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def seen(log: Path, text: str, *wanted: str, **settings: Any) -> list[tuple[int | None, float]]:
    """Read a text's only metric."""
    log.write_text(text)
    found = points(read(log, wanted or ("val_loss",), **settings))
    return list(found.get(wanted[0] if wanted else "val_loss", []))


def unreadable(log: Path, text: str, *wanted: str, **settings: Any) -> str:
    """Read a text that has no values, and say why."""
    log.write_text(text)
    collector = load("collector", "stdout")(Metrics(**settings))
    source = Source(log=log, output=log.parent)
    assert list(collector.collect(source, frozenset(wanted or ("val_loss",)))) == []
    return " ".join(collector.unreadable.values())


# The cases of users


def test_keras_is_read_without_a_format(log: Path) -> None:
    line = (
        "60/60 - 1s - 12ms/step - accuracy: 0.9312 - loss: 0.2210 "
        "- val_accuracy: 0.9580 - val_loss: 0.1402\n"
    )
    assert seen(log, f"Epoch 3/10\n{line}") == [(3, 0.1402)]
    assert seen(log, line, "accuracy") == [(None, 0.9312)]


def test_keras_2_is_read(log: Path) -> None:
    bar = "\n".join(
        [
            "Epoch 1/2",
            "1/2 [==============>...............] - ETA: 0s - loss: 0.9\x08\x08\x08\r"
            "2/2 [==============================] - 1s 87ms/step - loss: 0.7 - val_loss: 0.6",
            "Epoch 2/2",
            "2/2 - 0s - loss: 0.5 - val_loss: 0.4 - 40ms/epoch - 20ms/step",
        ]
    )
    assert seen(log, bar) == [(1, 0.6), (2, 0.4)]
    assert seen(log, bar, "loss") == [(1, 0.7), (2, 0.5)]


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Epoch 3/10 - train_loss: 0.4 - val_loss: 0.5", 3),
        ("Epoch [3/10], Step [100/600], val_loss: 0.5", 3),
        ("Train Epoch: 3 [0/60000 (0%)]\tval_loss: 0.5", 3),
        ("Epoch: 03 | val_loss: 0.5", 3),
        ("[epoch 3] val_loss = 0.5", 3),
        ("step=100/1000 val_loss=0.5", 100),
        ("epoch=3,val_loss=0.5,acc=0.9", 3),
        ("global_step=7 val_loss=0.5", 7),
        ("3/10 - val_loss: 0.5", None),
        ("INFO:root:val_loss=0.5", None),
        ("2026-11-30 02:00:00,123 INFO step 12: val_loss=0.5", 12),
        ("val_loss: 0.5 (best so far)", None),
        ("step=1,000 val_loss=0.5", None),  # one or a thousand? no step
        ("Epoch 3/10, val_loss=0.5", 3),
        ("Epoch 3/10: val_loss=0.5", 3),
        ("Best epoch: 7, epoch: 9, val_loss: 0.5", 9),
        ("epoch 3: {'val_loss': 0.5, 'f1': 0.81}", 3),
        ("val_loss          =     0.5", None),
        ("val_loss='0.5'", None),
        ("val_loss: tensor(0.5, device='cuda:0')", None),
        ("val_loss=np.float64(0.5)", None),
        ("{'val_loss': np.float64(0.5)}", None),
        ("epoch=3 val_loss=0.5 params={'lr': 0.1}", 3),
        ("{'lr': 0.1} -> val_loss=0.5", None),
        ('val_loss=0.5 config={"lr": 0.1, "units": 64}', None),
        ("60/60 - 1s - 2ms/step - loss: 0.7 - val_loss=0.5", None),
        ("[1]\tloss: 0.7, val_loss: 0.5", None),
        ("val_loss: 0.5 - best val_loss: 0.4", None),
        ("my_step=4 val_loss=0.5", None),
    ],
)
def test_a_step_is_read_where_it_stands(log: Path, line: str, step: int | None) -> None:
    assert seen(log, line) == [(step, 0.5)]


def test_the_headline_of_an_epoch_counts_until_the_next(log: Path) -> None:
    text = "Epoch 1/2\n-----\nval_loss: 0.5\nEpoch 2/2\nval_loss: 0.4\n"
    assert seen(log, text) == [(1, 0.5), (2, 0.4)]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("[12]\ttrain-rmse:0.81\tvalidation-rmse:0.93", "validation:rmse", 0.93),
        ("[09:15:00] [12]\ttrain-rmse:0.81\tvalidation-rmse:0.93", "validation-rmse", 0.93),
        ("[2026-11-30:09:15:00:INFO] [12]#011train-rmse:0.81#011validation-rmse:0.93",
         "validation:rmse", 0.93),
        ("[12]\ttrain-rmse:1.5e+05\tvalidation-rmse:2.5e+05", "validation-rmse", 2.5e5),
        ("[20]\ttraining's auc: 0.9\tvalid_1's auc: 0.84", "valid_1 auc", 0.84),
        ("[20]\ttraining's auc: 0.9\tvalid_1's auc: 0.84", "valid_1_auc", 0.84),
        ("2026-11-30T01:00:00Z INFO {metricName: accuracy, metricValue: 0.98};"
         "{metricName: loss, metricValue: 0.25}", "loss", 0.25),
        ("PR AUC=0.5", "PR AUC", 0.5),
        ("hit@10: 0.25", "hit@10", 0.25),
        ("metrics/mAP50(B)=0.75", "metrics/mAP50(B)", 0.75),
        ("acc=93.5%", "acc", 93.5),
        ("val_loss=0.5.", "val_loss", 0.5),  # the end of a sentence
        ("{'eval_loss': nan, 'epoch': 1.0}", "eval_loss", None),
    ],
)  # fmt: skip
def test_names_of_the_ecosystem_are_found(
    log: Path, text: str, name: str, value: float | None
) -> None:
    ((_, found),) = seen(log, text, name)
    assert found == value or (value is None and found != found)


@pytest.mark.parametrize(
    "text",
    [
        "val_loss=1,234.56",
        "val_loss=0,532",
        "val_loss=9332/13036",
        "val_loss=1:30",
        "val_loss=0.5e",
        "val_loss=12ms",
        "val_loss=0x1F",
        "val_loss=1_000",
        "val_loss=1'234.5",
        "val_loss=1\u202f234",
        "val_loss=\u22120.5",
        "val_loss=0.9-0.95",
        "val_loss=2026-11-30",
        "val_loss=1 234.5",
        "val_loss: 1 / 3",
        "val_loss: 9332 of 13036",
        "val_loss=5\u00d710",
        "val_loss=5 E-3",
        "val_loss=0\u00b7532",
        "val_loss=0\uff0c532",
        "val_loss=0.5..0.6",
        "val_loss=1.#INF",
        "val_loss: 0,532",
        '{"val_loss": "0,532"}',
        "{'val_loss': '1,234.5'}",
        "{metricName: val_loss, metricValue: 0,532}",
    ],
)
def test_a_number_is_read_wholly_or_the_line_is_named(log: Path, text: str) -> None:
    reason = unreadable(log, f"nothing here\n{text}\n")
    assert "val_loss must be wholly a number, got" in reason
    assert "line 2: " in reason


_CONTINUED = st.text("0123456789.,:/'_eE+-%xms \u00a0", max_size=8)


@given(st.floats(allow_nan=False, allow_infinity=False), _CONTINUED)
def test_a_number_is_read_wholly_or_not_at_all(value: float, rest: str) -> None:
    text = f"{value!r}{rest}"
    found = number_at(text)
    assert found is not None
    number, token = found
    if number is not None:
        assert text.startswith(token)
        assert float(token) == number
        left = text[len(token) :]
        assert not left[:1].isalnum()
        assert not (left[:1] in ".,:/'_-+\u00a0" and left[1:2].isdecimal())
    alone = number_in(text)
    if alone is not None and alone[0] is not None:
        assert alone[0] == float(text.strip().rstrip("%. "))


@given(st.floats(), st.sampled_from(["name=value", "name: value", "json", "katib"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_survives_a_line(log: Path, value: float, form: str) -> None:
    text = {
        "name=value": f"epoch=1 val_loss={value!r}, next",
        "name: value": f"Epoch 1, 'val_loss': {value!r}; next",
        "json": json.dumps({"epoch": 1, "val_loss": value}),
        "katib": f"epoch 1 {{metricName: val_loss, metricValue: {value!r}}}",
    }[form]
    ((step, found),) = seen(log, text)
    assert step == 1
    assert found == value or (found != found and value != value)


# Loggers


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"ts":1700000001.5,"lineno":88,"message":"epoch=1 val_loss=0.5"}', [(1, 0.5)]),
        ('{"level":30,"msg":"Epoch 2: val_loss: 0.5"}', [(2, 0.5)]),
        ('{"event":"epoch done","epoch":3,"val_loss":0.5}', [(3, 0.5)]),
        ('{"text":"x","record":{"message":"m","extra":{"val_loss":0.5,"epoch":4}}}', [(4, 0.5)]),
        ('{"log":"epoch=5 val_loss=0.5\\n","stream":"stdout"}', [(5, 0.5)]),
        ('{"epoch":6,"metrics":{"val_loss":0.5}}', [(6, 0.5)]),
        ('{"metric":"val_loss","value":0.5,"step":7}', [(7, 0.5)]),
        ('{"MetricName":"val_loss","Value":0.5}', [(None, 0.5)]),
        ('{"global_step":"8","val_loss":"0.5","timestamp":1.5}', [(8, 0.5)]),
        ('INFO 12:00 {"step": 9, "val_loss": 0.5}', [(9, 0.5)]),
        ('{"val_loss": 0.5, "message": "val_loss=0.25"}', [(None, 0.5)]),  # its own field
        ('{"val_loss": 0.5} (best)', [(None, 0.5)]),
        ('{"epoch": 2, "val_loss": 0.5},', [(2, 0.5)]),
        ('{"epoch": 3, "message": "val_loss=0.5"}', [(3, 0.5)]),
        ('{"message": "epoch=3 done", "val_loss": 0.5}', [(3, 0.5)]),
        ('{"data": {"val_loss": 9}, "val_loss": 0.5}', [(None, 0.5)]),
        ('{"body": "x", "attributes": {"val_loss": 0.5}}', [(None, 0.5)]),
        ('{"val_loss": 0.5', []),  # torn
        ('{"val_loss": null}', []),
    ],
)
def test_a_json_line_is_read_as_loggers_write_it(
    log: Path, line: str, expected: list[tuple[int | None, float]]
) -> None:
    assert seen(log, line) == expected


def test_objects_within_objects_are_named_by_their_path(log: Path) -> None:
    line = '{"epoch": 1, "val": {"loss": 0.5, "top": {"1": 0.9}}}'
    assert seen(log, line, "val.loss") == seen(log, line, "val/loss") == [(1, 0.5)]
    assert seen(log, line, "val.top.1") == [(1, 0.9)]
    assert seen(log, line, "loss") == []


def test_a_long_json_line_is_read_and_a_longer_one_is_told(log: Path) -> None:
    padding = "x" * 60_000
    assert seen(log, json.dumps({"pad": padding, "val_loss": 0.5})) == [(None, 0.5)]
    log.write_text(json.dumps({"val_loss": 0.5, "pad": padding * 2}))
    collector = load("collector", "stdout")(Metrics())
    source = Source(log=log, output=log.parent)
    assert list(collector.collect(source, frozenset({"val_loss"}))) == []
    told = ["line 1 is longer than 65,536 characters: only its end was read"]
    assert collector.remarks == told


# Which format counts


def test_a_line_meant_for_programs_goes_before_a_librarys(log: Path) -> None:
    keras = "Epoch 1/1\n3/3 - 1s - 2ms/step - loss: 0.9 - val_loss: 0.75\n"
    assert seen(log, f"{keras}val_loss=0.5\n") == [(None, 0.5)]
    assert seen(log, f"val_loss: 0.25\n{keras}") == [(1, 0.75)]
    assert seen(log, f"{keras}val_loss=0.5\n", format="keras") == [(1, 0.75)]


def test_each_metric_is_taken_from_where_it_is(log: Path) -> None:
    log.write_text("Epoch 1/1\n3/3 - 1s - 2ms/step - val_loss: 0.75\nacc=0.5\n")
    found = points(read(log, ["val_loss", "acc"]))
    assert found == {"val_loss": [(1, 0.75)], "acc": [(None, 0.5)]}


def test_text_glued_to_a_number_costs_no_trial_that_has_others(log: Path) -> None:
    bar = "2/2 \u2501\u2501 0s 9ms/step - val_loss: "
    text = f"Epoch 1/1\n{bar}0.7WARNING:absl:You are saving\r{bar}0.5\n['val_loss=0.20.ckpt']\n"
    assert seen(log, text) == [(1, 0.5)]
    assert "got '0.7Epoch" in unreadable(log, "val_loss: 0.7Epoch 2/2\n")


def test_a_bar_to_which_a_message_is_glued_is_a_bar(log: Path) -> None:
    bar = "Epoch {}: 100%|\u2588| 8/8 [00:00<00:00, 69.00it/s, loss=0.5, val_loss={}]"
    text = bar.format(0, 0.2) + "\r" + bar.format(1, 0.9) + "`Trainer.fit` stopped"
    assert seen(log, text) == [(0, 0.2), (1, 0.9)]
    unknown = "Epoch {}: |   | {}/? [00:00<00:00, 69.00it/s, val_loss={}]"
    states = [(0, 1, 0.9), (0, 2, 0.2), (1, 1, 0.2), (1, 2, 0.1)]
    assert seen(log, "\r".join(unknown.format(*one) for one in states)) == [(0, 0.2), (1, 0.1)]


def test_what_a_callback_evaluates_takes_no_epoch(log: Path) -> None:
    text = (
        "Epoch 1/2\n1/1 - 0s - 204ms/step - accuracy: 0.5 - loss: 0.9945\n"
        "2/2 - 3s - 2s/step - accuracy: 0.5938 - loss: 0.6246 - val_loss: 0.6243\n"
    )
    assert seen(log, text, "loss") == [(1, 0.6246)]


def test_the_arguments_of_a_program_are_no_results(log: Path) -> None:
    assert seen(log, "Namespace(lr=0.1, val_loss=0.95)\nval_loss: 0.5\n") == [(None, 0.5)]


def test_every_format_says_what_it_needs() -> None:
    for name in registry.FORMATS:
        form = registry.load("format", name)
        assert form.rank in (0, 1, 2)
        assert form(frozenset({"loss"})).read("no such line") is None


# Expressions of one's own


DEFINITIONS = [{"Name": "PR-AUC", "Regex": r"pr_auc = ([0-9\.]+)"}]


def test_metric_definitions_are_sagemakers(log: Path) -> None:
    text = "pr_auc = 0.5\nepoch 2: pr_auc = 0.75\n"
    assert seen(log, text, "PR-AUC", metric_definitions=DEFINITIONS) == [(None, 0.5), (2, 0.75)]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("pr_auc = 1e-05", r"pr_auc = ([0-9\.]+)"),
        ("pr_auc = 0,53", r"pr_auc = ([0-9\.]+)"),
        ("pr_auc = 0.53", r"pr_auc = ([0-9]+)"),
        ("pr_auc = 0.95", r"pr_auc.*([0-9\.]+)"),  # greedy: the last digit
        ("pr_auc = 1:30", r"pr_auc = ([0-9\.]+)"),
        ("pr_auc = 0,53", r"pr_auc = (\S+)"),
        ("pr_auc = 1e-05;", r".*pr_auc = ([0-9\.]+).*"),
        ("pr_auc = 9332/13036 x", r"pr_auc = ([0-9.]+)/"),
        ("pr_auc mean: -3.5", r"pr_auc.*?([0-9.]+)"),
    ],
)
def test_an_expression_that_takes_a_part_of_a_number_is_told(
    log: Path, text: str, form: str
) -> None:
    told = unreadable(log, text, "PR", metric_definitions=[{"name": "PR", "regex": form}])
    assert "PR must be wholly a number" in told


def test_what_an_expression_itself_looks_at_is_no_part(log: Path) -> None:
    forms = [
        {"name": "t", "regex": r"took ([0-9.]+)ms"},
        {"name": "n", "regex": r"([0-9.]+),[0-9.]+$"},  # columns
        {"name": "s", "regex": r"E(?P<step>\d+) loss ([0-9.]+)"},
        {"name": "o", "regex": r"'loss': ([0-9]+(.|e\-)[0-9]+),?"},
    ]
    assert seen(log, "took 12.5ms", "t", metric_definitions=forms) == [(None, 12.5)]
    assert seen(log, "0.5,0.75", "n", metric_definitions=forms) == [(None, 0.5)]
    assert seen(log, "E3 loss 0.5", "s", metric_definitions=forms) == [(3, 0.5)]
    assert seen(log, "{'loss': 0.25, 'x': 1}", "o", metric_definitions=forms) == [(None, 0.25)]


def test_a_format_may_name_the_step(log: Path) -> None:
    form = r"e(?P<step>\d+) (?P<name>\w+) (?P<value>\S+)"
    assert seen(log, "e3 val_loss 0.5", format=form) == [(3, 0.5)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"format": "kers"}, "did you mean 'keras'?"),
        ({"format": "keras", "metric_definitions": DEFINITIONS}, "use one of them"),
        ({"metric_definitions": [{"name": "a", "regex": "a (?P<step>b)"}]}, "must have a group"),
        ({"metric_definitions": [{"name": "a", "regex": "a b"}]}, "must have a group"),
        ({"metric_definitions": [{"name": "a", "regex": "("}]}, "must be a regular expression"),
        ({"collector": "jsonl", "metric_definitions": DEFINITIONS}, "belongs to file, stdout"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Metrics.model_validate(settings)
    assert problem in str(caught.value)


# The real thing, run here


KERAS = """
import json, sys, numpy, keras
x = numpy.random.default_rng(0).random((96, 4), "float32")
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, "sigmoid")])
model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
told = model.fit(x, x.sum(1) > 2, epochs=3, validation_split=0.5, verbose=int(sys.argv[1]))
print(json.dumps(told.history), file=sys.stderr)
"""


@pytest.mark.parametrize("verbose", [1, 2])
def test_what_keras_prints_is_its_history(log: Path, verbose: int) -> None:
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(TRIAL), "-c", KERAS, str(verbose)]
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    history = json.loads(done.stderr.decode().splitlines()[-1])
    log.write_bytes(done.stdout)
    for name, values in history.items():
        expected = [(step, pytest.approx(v, abs=6e-5)) for step, v in enumerate(values, start=1)]
        assert points(read(log, [name]))[name] == expected


SKLEARN = """
import json, sys
from sklearn.datasets import make_classification
from sklearn.neural_network import MLPClassifier
x, y = make_classification(100, 4, random_state=0)
made = MLPClassifier((4,), max_iter=3, verbose=True, random_state=0).fit(x, y)
print(json.dumps(made.loss_curve_), file=sys.stderr)
"""


def test_what_scikit_learn_prints_is_its_loss_curve(log: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SKLEARN]
    done = subprocess.run(command, capture_output=True, check=True)
    log.write_bytes(done.stdout)
    curve = json.loads(done.stderr.decode().splitlines()[-1])
    expected = [(step, pytest.approx(v, abs=1e-7)) for step, v in enumerate(curve, start=1)]
    assert points(read(log, ["loss"]))["loss"] == expected
