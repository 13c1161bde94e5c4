"""Names of metrics as libraries give them: accepted everywhere, and never read as a sum."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.collectors import wanted
from hpo_lib.core.constraint import Constraint
from hpo_lib.core.objective import Goal
from hpo_lib.core.trial import Direction
from hpo_lib.deployers.mlflow_rest import metric_keys
from hpo_lib.errors import SpecError
from hpo_lib.report import page, sheet
from hpo_lib.search.optimizer import Optimizer
from hpo_lib.spec import load, stored
from hpo_lib.spec.outline import Outline
from hpo_lib.spec.yaml_file import from_yaml, to_yaml
from hpo_lib.trials.outcome import judged
from tests.mlflow_server import PROGRAM, needs_mlflow

#: What XGBoost, LightGBM, Ultralytics, Lightning, transformers, scikit-learn and people say.
NAMES = [
    *("val-loss", "validation:rmse", "valid_1 auc", "valid_1's auc", "metrics/mAP50(B)", "hit@10"),
    *("PR-AUC", "val_loss/dataloader_idx_0", "eval/loss", "ndcg@5-mean", "top-1", "f1%", "a.b.c"),
    *("Recall (macro)", "größe", "Gu\u0308te", "\u00b5_err", "return", "lambda", "abs", "a#b"),
    *('say "hi"', "1st-loss", "AUC[1]", "val_acc++", "loss<=1", "double  blank", "{{x}}", "准确率"),
    *("<b>x</b>", "</script>", "=1+2", "../up", "a//b", "$x$", "a\\b"),
]


def conf(metric: str = "acc", *constraints: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "names",
        "objective": {"metric": metric, "direction": "minimize"},
        "constraints": list(constraints),
        "space": {"x": {"type": "int", "low": 1, "high": 3}},
        "trial": {"command": ["train"]},
        **more,
    }


def constraint(text: str, *known: str) -> Constraint:
    spec = load(conf(known[0], text, extra_metrics=list(known[1:])))
    (found,) = spec.goal.constraints
    assert load(spec.dump()).goal == from_yaml(to_yaml(spec)).goal == spec.goal
    assert Outline.of(spec.dump()).goal == spec.goal
    return found


def refused(plain: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        load(plain)
    return str(caught.value)


def test_a_known_metric_is_itself_and_no_trial_trains_for_nothing() -> None:
    spec = load(conf("val-loss", "val-loss <= 0.5"))
    assert spec.constraints == ("'val-loss' <= 0.5",)
    assert wanted(spec) == {"val-loss"}
    assert judged(spec.goal, {"val-loss": 0.4}) == (None, "val-loss = 0.4")
    assert judged(spec.goal, {"val-loss": 0.75})[1] == (
        "val-loss = 0.75; 'val-loss' <= 0.5 is exceeded by 0.25"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_itself_in_a_constraint(name: str) -> None:
    for text in (f"{name} <= 0.5", f"{name!r} <= 0.5", f"2 * {name} <= 1"):
        found = constraint(text, name)
        assert found.metrics == {name}
        assert found.broken({name: 0.25}) is None
        assert found.broken({name: 0.75}) is not None
    gap = constraint(f"abs({name} - loss) <= 0.1", name)
    assert gap.metrics == {name, "loss"}
    assert gap.excess({name: 1.0, "loss": 0.5}) == pytest.approx(0.4)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_accepted_wherever_a_metric_is_named(name: str) -> None:
    plain = conf("acc", f"{name!r} >= 0", extra_metrics=[name])
    plain["objective"] = [
        plain["objective"],
        {"metric": name, "direction": "minimize", "target": 0.5},
    ]
    plain |= {
        "final": {"seeds": 2},
        "deploy": {
            "to": "package",
            "metric": name,
            "direction": "minimize",
            "guards": [{"metric": name, "at_most": 1.0}],
        },
    }
    spec = load(plain)
    assert wanted(spec) == {"acc", name}
    assert from_yaml(to_yaml(spec)).dump() == spec.dump() == load(spec.dump()).dump()
    assert spec.objectives[1].metric == spec.extra_metrics[0] == name


@pytest.mark.parametrize("name", NAMES)
def test_every_name_stands_in_report_and_table_as_it_is(name: str) -> None:
    spec = factories.SPEC | {
        "objective": {"metric": name, "direction": "minimize"},
        "extra_metrics": [f"val {name}"],
        "constraints": [f"{name!r} <= 0.5"],
    }
    trials = [
        factories.view(factories.trial(n, 0.1 * n, metrics={name: 0.1 * n, f"val {name}": 1.0}))
        for n in (1, 2)
    ]
    view = factories.RunView(factories.run(spec), tuple(trials))
    (row, _) = csv.DictReader(io.StringIO(sheet.csv(view)))
    assert (row[f"metrics.{name}"], row[f"metrics.val {name}"]) == ("0.1", "1.0")
    html = page.html(view)
    assert "<b>x</b>" not in html
    assert html.count("</script>") == html.count("<script")


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", " a", "a ", "a\n", "a\x00b", "\x1b[31m", "a\u2028b", "\u200b", "\ud800"),
        *("x" * 129, "1", "0.5", "1e5", "nan", "inf", "-infinity"),
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    assert "objective.metric: " in refused(conf(name))
    assert "extra_metrics" in refused(conf(extra_metrics=[name]))


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        (
            "val-loss <= 0.5",
            ["val-loss", "val", "loss"],
            '"val-loss" can be a metric or val - loss: write "\'val-loss\' <= 0.5" for the metric, '
            'or "val - loss <= 0.5"',
        ),
        (
            "top-1 >= 0.9",
            ["top-1", "top"],
            '"top-1" can be a metric or top - 1: write "\'top-1\' >= 0.9" for the metric, or '
            '"top - 1 >= 0.9"',
        ),
        (
            "eval/loss <= train/loss",
            ["eval/loss", "train/loss", "eval", "train", "loss"],
            '"train/loss" can be a metric or train / loss: write "eval/loss <= \'train/loss\'" for '
            'the metric, or "eval/loss <= train / loss"',
        ),
        (
            "val-loss <= 0.5",
            ["loss"],
            '"val-loss" can be a metric or val - loss: write "\'val-loss\' <= 0.5" for the metric, '
            'or "val - loss <= 0.5"',
        ),
        # Nobody knows either, and the closed-up form is how metrics are called.
        (
            "PR-AUC >= 0.5",
            ["loss"],
            '"PR-AUC" can be a metric or PR - AUC: write "\'PR-AUC\' >= 0.5" for the metric, or '
            '"PR - AUC >= 0.5"',
        ),
        (
            "a-b-c <= 1",
            ["a-b", "b-c"],
            'must have metrics in quotes where names overlap, as "a-b" and "b-c" do',
        ),
        (
            "a-b-c <= 1",
            ["a-b-c", "a-b", "c"],
            "\"a-b-c\" can be a metric or 'a-b' - c: write \"'a-b-c' <= 1\" for the metric, or "
            "\"'a-b' - c <= 1\"",
        ),
        (
            "metrics/mAP50-95 >= 0.3",
            ["metrics/mAP50", "metrics/mAP50-95"],
            "\"metrics/mAP50-95\" can be a metric or 'metrics/mAP50' - 95: write "
            "\"'metrics/mAP50-95' >= 0.3\" for the metric, or \"'metrics/mAP50' - 95 >= 0.3\"",
        ),
        (
            "val - loss <= 0.5",
            ["val-loss"],
            '"val - loss" is "val-loss" but for blanks: write "\'val-loss\'" for that metric, or '
            "name loss and val in extra_metrics",
        ),
    ],
)
def test_what_is_ambiguous_is_refused_with_the_quoted_form(
    text: str, known: Sequence[str], message: str
) -> None:
    plain = conf(known[0], text, extra_metrics=list(known[1:]))
    assert refused(plain) == f"constraints.0: {message}"


@pytest.mark.parametrize(
    ("text", "known", "metrics"),
    [
        # A metric of its own, beside one of its parts.
        ("val-loss <= 0.5", ["val-loss", "loss"], {"val-loss"}),
        ("val-loss - train-loss <= 0.1", ["val-loss", "train-loss"], {"val-loss", "train-loss"}),
        ("val-loss-train-loss <= 0.1", ["val-loss", "train-loss"], {"val-loss", "train-loss"}),
        ("a-b-c <= 1", ["a-b", "a-b-c"], {"a-b-c"}),
        # Both ways of writing what is ambiguous.
        ("'val-loss' <= 0.5", ["val-loss", "val", "loss"], {"val-loss"}),
        ("val - loss <= 0.5", ["val-loss", "val", "loss"], {"val", "loss"}),
        # Differences as ever.
        ("val_loss - loss <= 0.01", ["val_loss"], {"val_loss", "loss"}),
        ("val_loss-loss <= 0.01", ["val_loss", "loss"], {"val_loss", "loss"}),
        ("loss-val_loss <= 0.01", ["val_loss", "loss"], {"val_loss", "loss"}),
        ("roc-auc/val/loss >= 1", ["roc-auc", "val/loss"], {"roc-auc", "val/loss"}),
        ("val - roc-auc >= 0.8", ["roc-auc"], {"val", "roc-auc"}),
        ("1-roc-auc <= 0.2", ["roc-auc"], {"roc-auc"}),
        ("loss/2 <= 0.2", ["loss"], {"loss"}),
        ("1-acc <= 0.1", ["loss"], {"acc"}),
        ("size/1024 <= 5", ["loss"], {"size"}),
        ("a / b <= 1e-3*c", ["loss"], {"a", "b", "c"}),
        ("loss-abs(b) <= 1", ["acc"], {"loss", "b"}),
        # No part of a longer word, and a function where it is called.
        ("val-losses <= 1", ["val-loss", "val", "losses"], {"val", "losses"}),
        ("abs(abs) <= 1", ["abs"], {"abs"}),
    ],
)
def test_what_is_clear_is_read(text: str, known: Sequence[str], metrics: set[str]) -> None:
    assert constraint(text, *known).metrics == metrics


@pytest.mark.parametrize(
    ("name", "known", "formula"),
    [
        # A word before a known name.
        ("val-roc-auc", ["roc-auc"], "val - 'roc-auc'"),
        ("ema-val-loss", ["val-loss"], "ema - 'val-loss'"),
        ("mean-hit@1", ["hit@1"], "mean - 'hit@1'"),
        ("ema/val/loss", ["val/loss"], "ema / 'val/loss'"),
        ("val-valid_1 auc", ["valid_1 auc"], "val - 'valid_1 auc'"),
        # A word behind one.
        ("auc-pr", ["auc"], "auc - pr"),
        ("acc-top5", ["acc"], "acc - top5"),
        ("acc-top5@1", ["acc"], "acc - 'top5@1'"),
        ("PR-AUC-macro", ["PR-AUC"], "'PR-AUC' - macro"),
        ("hit@1-all", ["hit@1"], "'hit@1' - all"),
        ("val/loss/mean", ["val/loss"], "'val/loss' / mean"),
        ("loss-val_loss", ["loss"], "loss - val_loss"),
        # A number behind one.
        ("metrics/mAP50-95", ["metrics/mAP50"], "'metrics/mAP50' - 95"),
        ("metrics/mAP50(B)-95", ["metrics/mAP50(B)"], "'metrics/mAP50(B)' - 95"),
        ("loss-1", ["loss"], "loss - 1"),
        ("loss-1e-3", ["loss"], "loss - 1e-3"),
        ("loss-5%", ["loss"], "loss - '5%'"),
        ("top-5-acc", ["acc"], "top - 5 - acc"),
    ],
)
def test_a_word_that_runs_into_a_known_metric_is_refused_with_both_forms(
    name: str, known: list[str], formula: str
) -> None:
    told = refused(conf(known[0], f"{name} >= 0.3", extra_metrics=known[1:]))
    either = f'write "{name!r} >= 0.3" for the metric, or "{formula} >= 0.3"'
    assert told == f'constraints.0: "{name}" can be a metric or {formula}: {either}'
    assert constraint(f"{name!r} >= 0.3", *known).metrics == {name}
    assert constraint(f"{formula} >= 0.3", *known).metrics & set(known)


def test_metrics_side_by_side_are_no_metric_of_both_names() -> None:
    told = refused(conf("hit@1", "hit@1 hit@10 >= 0.3", extra_metrics=["hit@10"]))
    assert "must have an operator between two metrics, got \"'hit@1' 'hit@10' >= 0.3\"" in told


@pytest.mark.parametrize(
    "text",
    [
        *("loss <= 50%", "loss <= 1 000", "loss <= 0,5", "loss <= 5ms", "loss <= 1e"),
        *("max(loss, 1) <= 2", "sqrt(rmse) <= 1", "weighted(loss) <= 1", "log(x) <= 1"),
        *("loss**2 <= 1", "loss^2 <= 1", "loss % 2 <= 1", "loss // 2 <= 1", "not loss <= 1"),
        *("loss <= 1 and acc >= 2", "0 < loss < 1", "loss == 1", "loss", "loss <=", "<= 1"),
    ],
)
def test_what_is_no_name_of_a_metric_is_told_the_rule_and_no_quotes(text: str) -> None:
    told = refused(conf("loss", text))
    assert told.startswith("constraints.0: must be an expression of metrics and numbers with + -")
    assert told.endswith(f", got {text!r}")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("loss < 1", ', did you mean "loss <= 1"?'),
        ("val-loss > 1", ', did you mean "val-loss >= 1"?'),
        ("loss =< 1", ', did you mean "loss <= 1"?'),
        ("loss ≤ 1", ', did you mean "loss <= 1"?'),
        ("hit@10 > 1", "; a metric of such a name stands in quotes: \"'hit@10' >= 1\""),
        ("AUC[1] >= 1", "; a metric of such a name stands in quotes: \"'AUC[1]' >= 1\""),
        ("mAP50(B) >= 1", "; a metric of such a name stands in quotes: \"'mAP50(B)' >= 1\""),
    ],
)
def test_a_comparison_that_is_nearly_right_is_shown_as_it_would_be(text: str, advice: str) -> None:
    assert refused(conf("loss", text, extra_metrics=["val-loss"])).endswith(advice)


def test_known_are_objectives_extra_metrics_guards_and_what_is_deployed_by() -> None:
    deploy = {
        "to": "package",
        "metric": "test-auc",
        "direction": "maximize",
        "guards": [{"metric": "p99 (ms)", "at_most": 5.0}],
    }
    texts = ["val-loss <= 1", "train:loss <= 1", "test-auc >= 0", "p99 (ms) <= 9"]
    plain = conf("val-loss", *texts, extra_metrics=["train:loss"], final={}, deploy=deploy)
    named = {"val-loss", "train:loss", "test-auc", "p99 (ms)"}
    assert {name for one in load(plain).goal.constraints for name in one.metrics} == named
    # Also where the section that names it is broken otherwise.
    plain["deploy"]["guards"][0] |= {"bogus": 1}
    plain["objective"]["direction"] = "down"
    assert [line.partition(": ")[0] for line in refused(plain).splitlines()] == [
        "objective.direction",
        "deploy.guards.0",
    ]


def test_a_wrong_constraint_hides_no_other_and_a_side_that_is_no_formula_is_explained() -> None:
    lines = refused(conf("acc", "hit@10 >= 1", "loss <=", "valid_1 auc >= valid_2 auc")).split("\n")
    assert [line.partition(": ")[0] for line in lines] == [
        *("constraints.0", "constraints.1", "constraints.2")
    ]
    assert lines[0].endswith("; a metric of such a name stands in quotes: \"'hit@10' >= 1\"")
    assert lines[2].endswith("quotes: \"'valid_1 auc' >= 'valid_2 auc'\"")


def test_what_is_no_name_makes_no_constraint_wrong() -> None:
    told = refused(conf("acc", "acc - loss <= 1", extra_metrics=["1", " ", "", "<= "]))
    assert {line.partition(": ")[0] for line in told.splitlines()} == {"extra_metrics"}


def test_constraints_of_stored_specs_are_read_as_they_were() -> None:
    """Today's version would refuse these, or read them in another way."""
    document = conf("val-loss", "val-loss <= 0.5", extra_metrics=["val", "loss"])
    goal = Outline.of(document).goal
    assert goal is not None
    assert goal.constraints[0].metrics == {"val", "loss"}
    assert stored(document).goal == goal
    assert Constraint.parse('"val/loss" <= 0.5').metrics == {"val/loss"}


def test_a_notebook_has_the_same_constraints() -> None:
    space = {"x": {"type": "int", "low": 1, "high": 3}}
    optimizer = Optimizer(space, constraints=["'val-loss' - objective <= 0.1"])
    optimizer.observe({"x": 1}, 0.5, {"val-loss": 0.55})
    assert optimizer.best == ({"x": 1}, 0.5)
    with pytest.raises(SpecError, match=r'constraints\.0: "val-loss" can be a metric'):
        Optimizer(space, constraints=["val-loss <= 0.1"])


def test_many_names_take_no_time() -> None:
    text = "-".join(["ab"] * 60) + " <= 1"
    parts = [text[start:end] for start in range(0, 180, 3) for end in range(start + 4, 181)]
    names = list(dict.fromkeys(part for part in parts if part == part.strip()))
    names = [name for name in names if len(name) <= 128][:1_000]
    assert "must have metrics in quotes" in refused(conf("acc", text, extra_metrics=names))
    began = time.process_time()
    names = [f"m-{number}" for number in range(1_000)]
    refused(conf("acc", *[f"max(acc, {n}) <= 1" for n in range(10)], extra_metrics=names))
    assert time.process_time() - began < 8


_NAME = st.text("ab-/*+ .()@:'\"<>=10", min_size=1, max_size=8).filter(
    lambda name: name == name.strip() and any(letter in name for letter in "ab")
)


@given(_NAME, st.lists(_NAME, max_size=3))
def test_a_name_is_itself_or_refused_and_always_itself_in_quotes(
    name: str, others: list[str]
) -> None:
    known = {name, *others}
    assert Constraint.parse(f"{name!r} <= 0.5", known).metrics == {name}
    try:
        found = Constraint.parse(f"{name} <= 0.5", known)
    except SpecError:
        return
    assert found.metrics == {name}
    assert Constraint.parse(found.text) == found
    assert Constraint.parse(found.text, known) == found


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5),
    st.sampled_from("-/"),
    st.sets(st.sampled_from(["a", "b", "a-b", "b/c", "h@1"])),
)
def test_what_is_written_without_blanks_names_known_metrics_alone(
    words: list[str], sign: str, known: set[str]
) -> None:
    text = sign.join(words)
    try:
        found = Constraint.parse(f"{text} <= 0.5", known)
    except SpecError as error:
        for form in re.findall(r'(?:write|or) (".*?")(?= for|$)', str(error)):
            if len(words) == 2:  # of more, several may be read in two ways, one after the other
                assert Constraint.parse(json.loads(form), known).metrics
        return
    assert found.metrics <= known | {text}


@given(st.text("ab-/*+ .()@:'\"<>=1", max_size=30), st.lists(_NAME, max_size=4))
def test_any_text_is_read_or_refused_and_its_canonical_form_stays(
    text: str, known: list[str]
) -> None:
    try:
        found = Constraint.parse(text, known)
    except SpecError:
        return
    assert Constraint.parse(found.text, known) == Constraint.parse(found.text) == found
    goal = Goal((("a", Direction.MINIMIZE),), (found,))
    assert isinstance(goal.broken({}), list)


@given(st.lists(st.text(max_size=6) | st.sampled_from(NAMES), unique=True, max_size=6))
def test_keys_of_mlflow_are_as_many_as_the_names(names: list[str]) -> None:
    keys = metric_keys(names)
    assert list(keys) != [] or names == []
    assert len(set(keys.values())) == len(names) == len(keys)


def test_a_name_that_mlflow_takes_is_its_own_key() -> None:
    assert metric_keys(["hit@10", "hit_10", "val_loss", "a/b c", "hit#10"]) == {
        "hit@10": "hit_10_",
        "hit_10": "hit_10",
        "val_loss": "val_loss",
        "a/b c": "a/b c",
        "hit#10": "hit_10__",
    }


@needs_mlflow
def test_mlflow_takes_the_keys_of_all_names() -> None:
    keys = [*metric_keys([*NAMES, ".", "..", "/", "...x", "a/", "./a", "a/../b"]).values()]
    program = (
        "import json, sys\nfrom mlflow.utils.validation import _validate_metric_name\n"
        "for key in json.loads(sys.argv[1]): _validate_metric_name(key)\n"
    )
    python = PROGRAM.parent / "python"
    ran = subprocess.run([python, "-c", program, json.dumps(keys)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
