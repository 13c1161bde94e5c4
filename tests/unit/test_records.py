"""Stored forms: what is written is read back, and so is what former versions wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.trial import Direction, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.evaluation.drift import ChampionCheck, Change, Score, Shift
from hpo_lib.evaluation.training_diff import changes, program
from hpo_lib.evaluation.verdict import Verdict
from hpo_lib.records import (
    Advice,
    Manifest,
    Model,
    ModelStatus,
    Provenance,
    RunStatus,
    RunView,
    Told,
)
from hpo_lib.records.stopped import by_whom, cancelled, outcome, stopped
from hpo_lib.spec import load
from hpo_lib.spec.outline import Dimension, Measure, Outline
from hpo_lib.store.rows import judgement_of, judgement_row, model_of
from tests.unit import factories

NOW = datetime(2031, 5, 6, tzinfo=UTC)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
numbers = st.floats(-1e9, 1e9)
texts = st.text(max_size=20)
scores = st.builds(Score, numbers, st.none() | numbers, st.integers(1, 9))
shifts = st.builds(Shift, texts, numbers, numbers, numbers, st.tuples(numbers, numbers))
counted = st.none() | st.integers(0, 10**6)
named = st.lists(texts, max_size=3).map(tuple)
data_changes = st.builds(
    Change,
    same=st.none() | st.booleans(),
    rows=st.tuples(counted, counted),
    classes=st.none() | st.floats(0, 1),
    shifts=st.lists(shifts, max_size=3).map(tuple),
    compared=st.integers(0, 99),
    gone=named,
    new=named,
)
checks = st.builds(
    ChampionCheck,
    run=st.integers(1, 10**6),
    time=st.datetimes(timezones=st.just(UTC)),
    version=st.integers(1, 99),
    metric=texts,
    direction=st.sampled_from(Direction),
    then=st.none() | scores,
    now=st.none() | scores,
    search=st.booleans(),
    data=data_changes,
    program=named,
    missing=named,
)
verdicts = st.builds(
    Verdict,
    promote=st.booleans(),
    reason=texts,
    improvement=st.none() | numbers,
    error=st.none() | numbers,
    broken=named,
    asks=st.booleans(),
)
params = st.dictionaries(texts, numbers | texts | st.booleans() | st.integers(), max_size=3)


def stored(plain: Any) -> Any:
    """Give what comes back from a column of JSON."""
    return json.loads(json.dumps(plain))


# Provenance

FACTS = ("store", "file", "way", "asked", "config")


@given(
    st.builds(
        Provenance,
        store=texts,
        file=st.none() | texts,
        way=texts,
        asked=texts,
        config=texts,
        versions=st.dictionaries(texts.filter(lambda name: name not in FACTS), texts),
    )
)
def test_a_provenance_is_read_as_it_was_written(made: Provenance) -> None:
    assert Provenance.read(stored(made.dump())) == made


def test_a_provenance_of_before_is_a_flat_mapping_and_stays_one() -> None:
    plain = {"python": "3.11.2", "hpo-lib": "0.1.0", "file": "nightly.yaml", "store": "0123456789"}
    read = Provenance.read(plain)
    versions = {"python": "3.11.2", "hpo-lib": "0.1.0"}
    assert read == Provenance("0123456789", "nightly.yaml", versions)
    assert list(read.dump().items()) == list(plain.items()), "in its order too"
    assert Provenance.read({}) == Provenance()
    assert Provenance().dump() == {}


# The time that a run was open


def test_what_lies_between_an_end_and_its_extension_is_no_run_time() -> None:
    def at(minute: int) -> datetime:
        return factories.START + timedelta(minutes=minute)

    run = factories.run(closed=((at(10), at(70)), (at(90), at(190))))
    seen = {minute: run.open_s(at(minute)) / 60 for minute in (-5, 0, 10, 40, 70, 90, 150, 200)}
    assert seen == {-5: 0, 0: 0, 10: 10, 40: 10, 70: 10, 90: 30, 150: 30, 200: 40}


@given(
    marks=st.lists(st.integers(0, 10_000), max_size=9),
    asked=st.lists(st.integers(-100, 11_000), min_size=2, max_size=2).map(sorted),
)
def test_a_run_is_open_no_longer_than_time_passes(marks: list[int], asked: list[int]) -> None:
    moments = [factories.START + timedelta(seconds=one) for one in sorted(marks)]
    run = factories.run(closed=tuple(zip(moments[::2], moments[1::2], strict=False)))
    earlier, later = (run.open_s(factories.START + timedelta(seconds=one)) for one in asked)
    assert 0 <= later - earlier <= asked[1] - asked[0]


# Advice

told = st.builds(
    Told,
    run=st.integers(1, 99),
    experiment=texts,
    weight=st.floats(0, 1),
    trials=st.lists(
        st.builds(
            Trial,
            number=st.integers(1, 99),
            params=params,
            state=st.just(TrialState.COMPLETE),
            value=numbers,
            metrics=st.dictionaries(texts, numbers, max_size=2),
        ),
        max_size=3,
    ).map(tuple),
)


@given(st.builds(Advice, st.lists(told, max_size=2).map(tuple), named, texts))
def test_advice_is_read_as_it_was_written(made: Advice) -> None:
    assert Advice.read(stored(made.dump())) == made


@given(st.dictionaries(st.sampled_from(["runs", "dropped"]), json_values, max_size=2))
def test_advice_that_cannot_be_read_advises_nothing_and_says_so(plain: Any) -> None:
    read = Advice.read(plain)
    assert read.runs == () or plain["runs"]
    assert all(isinstance(sentence, str) for sentence in read.dropped)
    assert Advice.read({"runs": [{}]}) == Advice(
        (), ("what earlier runs told this one cannot be read any more",)
    )


# Verdict, approval and champion checks: one column of `models`


def model(**said: Any) -> Model:
    made = Model("nightly", 3, 12, 1, {"x": 0.5}, ModelStatus.CHAMPION, "", NOW, NOW)
    return replace(made, **said)


@given(
    st.none() | verdicts,
    st.none() | texts,
    st.lists(checks, max_size=3).map(tuple),
)
def test_what_was_said_of_a_model_is_read_as_it_was_written(
    verdict: Verdict | None, approved: str | None, seen: tuple[ChampionCheck, ...]
) -> None:
    said = {"verdict": verdict, "approved": approved, "checks": seen}
    assert judgement_of(stored(judgement_row(model(**said)))) == said


VERDICT = Verdict(True, "Promoted: it is better.", 0.25, 0.125, ("The size is 3.",))
CHECK = ChampionCheck(
    7,
    NOW,
    3,
    "auc",
    Direction.MAXIMIZE,
    Score(0.9),
    data=Change(rows=(3, None), shifts=(Shift("age", 0.0, 1.0, 1.0, (0.0, 0.5)),)),
    program=("image was a, is b",),
)
#: As the version before this one wrote them, key by key.
OLD_VERDICT = {
    "promote": True,
    "reason": "Promoted: it is better.",
    "improvement": 0.25,
    "error": 0.125,
    "broken": ["The size is 3."],
}
OLD_CHECK = {
    "run": 7,
    "time": "2031-05-06T00:00:00+00:00",
    "version": 3,
    "metric": "auc",
    "direction": "maximize",
    "then": {"mean": 0.9, "error": None, "seeds": 1},
    "now": None,
    "search": False,
    "data": {
        "same": None,
        "rows": [3, None],
        "classes": None,
        "shifts": [{"name": "age", "then": 0.0, "now": 1.0, "by": 1.0, "missing": [0.0, 0.5]}],
        "compared": 0,
        "gone": [],
        "new": [],
    },
    "program": ["image was a, is b"],
}


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (None, {}),
        (OLD_VERDICT, {"verdict": VERDICT}),
        (OLD_VERDICT | {"approved": "ada"}, {"verdict": VERDICT, "approved": "ada"}),
        (OLD_VERDICT | {"nights": [OLD_CHECK]}, {"verdict": VERDICT, "checks": (CHECK,)}),
        # A champion that was promoted without a verdict.
        ({"nights": [OLD_CHECK]}, {"checks": (CHECK,)}),
    ],
)
def test_the_stored_form_is_what_it_was(plain: Any, said: dict[str, Any]) -> None:
    nothing = {"verdict": None, "approved": None, "checks": ()}
    assert judgement_of(plain) == nothing | said
    assert stored(judgement_row(model(**said))) == plain


def test_what_lacks_later_fields_is_read() -> None:
    assert Verdict.read({"promote": False}) == Verdict(False, "")
    assert Verdict.read(OLD_VERDICT | {"asks": "yes"}) == VERDICT
    for missing in ("search", "program", "data", "now", "then"):
        short = {name: value for name, value in OLD_CHECK.items() if name != missing}
        read = ChampionCheck.read(short)
        assert read is not None
        assert (read.run, read.version) == (7, 3)
    short = OLD_CHECK | {"data": {"same": True}}
    assert ChampionCheck.read(short) == replace(CHECK, data=Change(same=True))


@given(st.none() | st.dictionaries(st.sampled_from([*OLD_VERDICT, "nights"]), json_values))
def test_nothing_that_is_stored_hides_a_model(plain: Any) -> None:
    read = judgement_of(plain)
    assert (read["verdict"] is not None) == ("promote" in (plain or {}))
    assert read["checks"] == ()


def test_what_is_no_check_is_passed_over() -> None:
    found = judgement_of({"nights": [{"run": 7}, OLD_CHECK, "?", OLD_CHECK | {"run": "?"}]})
    assert found["checks"] == (CHECK,)
    made = model(checks=found["checks"])
    assert made.check_of(7) == CHECK
    assert made.check_of(8) is None


def test_a_row_of_before_is_a_model() -> None:
    values: dict[str, Any] = {
        "experiment": "nightly",
        "version": 3,
        "run_id": 12,
        "source": 1,
        "params": {"x": 0.5},
        "against": None,
        "trial": None,
        "files": "",
        "metrics": {},
        "manifest": {},
        "verdict": OLD_VERDICT | {"approved": "ada", "nights": [OLD_CHECK]},
        "served": True,
        "status": "champion",
        "reason": "",
        "created_at": NOW,
        "changed_at": NOW,
    }
    row: Any = SimpleNamespace(_mapping=values, **values)
    read = model(verdict=VERDICT, approved="ada", checks=(CHECK,), served=True)
    assert model_of(row) == read
    assert (read.promising, read.verdict_reason) == (True, "Promoted: it is better.")


# Manifest

SPEC = load(factories.SPEC)
TRIAL = factories.trial(9, 0.9, params={"units": 32}, metrics={"val_auc": 0.9})


@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    texts,
    st.lists(numbers, max_size=4),
    st.integers(0, 10**7),
)
def test_a_manifest_is_read_as_it_was_written(
    training: dict[str, Any], metric: str, values: list[float], examples: int
) -> None:
    made = Manifest.of(
        SPEC,
        TRIAL,
        run=12,
        dag_run="manual",
        versions={"python": "3.11.2"},
        training=training,
        metric=metric,
        scores=values,
        examples=examples,
    )
    read = Manifest(stored(made.document))
    assert (read.examples(metric), read.examples(f"{metric}2")) == (examples, 0)
    assert ("examples" in read.document["scores"]) is (examples > 0)
    assert read.score(metric) == Score.of(values)
    assert read.score(f"{metric}2") is None
    assert read.data == made.data
    now = program(SPEC, TRIAL.params, training.get("versions"))
    assert changes(read.program(TRIAL.params), now) == []
    assert set(read.document) == {
        *("experiment", "run", "dag_run", "trial", "params", "metrics", "image"),
        *("versions", "program", "training", "scores"),
    }


def test_a_manifest_of_before_says_a_part() -> None:
    conf = factories.SPEC | {"fixed": {"epochs": 40}}
    conf |= {"trial": conf["trial"] | {"image": "trial:1"}}
    old = Manifest({"params": {"epochs": 40, "x": 0.5}, "image": "trial:1"})
    now, fewer = (
        stored(program(load(conf | {"fixed": {"epochs": epochs}}), {"x": 0.5}, None))
        for epochs in (40, 4)
    )
    assert changes(old.program({"x": 0.5}), now) == []
    assert changes(old.program({"x": 0.5}), fewer) == ["fixed.epochs was 40, is 4"]
    assert changes(Manifest().program({"x": 0.5}), now) == []
    assert Manifest({"program": now}).program({}) == now
    assert (old.score("loss"), Manifest().score("loss")) == (None, None)
    before = Manifest({"scores": {"metric": "loss", "values": [0.5]}})
    assert (old.examples("loss"), before.examples("loss")) == (0, 0)


@given(
    st.dictionaries(
        st.sampled_from(["program", "params", "image", "training", "scores"]), json_values
    )
)
def test_nothing_in_a_manifest_hides_a_model(document: Any) -> None:
    made = Manifest(document)
    assert isinstance(made.program({"x": 0.5}), dict)
    assert made.data.features == {} or "training" in document
    assert made.score("loss") is None or "scores" in document
    assert made.examples("loss") == 0 or "scores" in document


# The spec of a run


def test_a_runs_spec_is_read_once() -> None:
    run = factories.run()
    assert run.spec == load(factories.SPEC)
    assert run.spec is run.spec
    other = replace(run, document=load(factories.SPEC | {"name": "other"}).dump())
    assert other.spec.name == "other", "what was read is not carried over"
    assert run == factories.run(), "and makes no difference to what a run is"


def test_a_refused_run_says_why_it_has_no_spec() -> None:
    run = factories.refused_run().run
    assert run.status is RunStatus.REFUSED
    with pytest.raises(SpecError, match=r"run 12 was refused, it has no trials: space\.lr: low"):
        _ = run.spec
    assert run.outline == Outline()


def test_a_spec_that_is_refused_today_breaks_where_it_is_needed_and_its_outline_stays() -> None:
    run = factories.run(factories.SPEC | {"mode": "of an older version"}, check=False)
    with pytest.raises(SpecError, match="mode: must be waves"):
        _ = run.spec
    assert run.outline == Outline.of(factories.run().document | {"mode": "x"})
    assert RunView(run).goal == load(factories.SPEC).goal


def test_an_outline_says_what_the_spec_says() -> None:
    conf = factories.SPEC | {
        "artifacts": {"uri": "s3://b/x"},
        "final": {"seeds": 2, "trial": {"backend": "docker", "image": "train:1"}},
        "deploy": {"to": "package"},
    }
    spec = load(conf)
    said = Outline.of(spec.dump())
    assert (said.goal, said.fixed) == (spec.goal, spec.fixed)
    assert said.objectives == (Measure("val_auc", Direction.MAXIMIZE, 0.95),)
    assert (said.description, said.extra_metrics) == (spec.description, spec.extra_metrics)
    assert (said.sampler, said.seed) == ("bayesian", 7)
    assert (said.max_trials, said.parallel_trials) == (24, 4)
    assert (said.artifacts_uri, said.artifacts_keep) == ("s3://b/x", "best")
    assert said.backends == ("local", "docker")
    assert list(said.space) == list(spec.space)
    assert said.space["units"] == Dimension(ends=(32.0, 512.0))
    assert said.space["decay"].scale == "reverse_log"
    assert said.space["nesterov"] == Dimension((True, False), conditional=True)
    other = load(conf | {"deploy": {"to": "package", "min_improvement": 0.5}})
    assert said.deploy not in ("", Outline.of(other.dump()).deploy)
    assert Outline.of(load(factories.SPEC).dump()).deploy == ""


@given(st.dictionaries(st.sampled_from(sorted(factories.SPEC)) | st.text(), json_values))
def test_an_outline_refuses_nothing(document: Any) -> None:
    said = Outline.of(document)
    assert said.objectives
    assert all(isinstance(name, str) for name in (*said.space, *said.fixed, *said.backends))


@given(st.sampled_from(sorted(factories.SPEC)), json_values)
def test_an_outline_of_a_spec_with_one_part_of_nonsense_keeps_the_others(
    part: str, nonsense: Any
) -> None:
    said = Outline.of(factories.SPEC | {part: nonsense})
    kept = Outline.of(factories.SPEC)
    if part != "space":
        assert said.space == kept.space
    if part != "limits":
        assert said.max_trials == 24


@given(
    st.text().filter(bool),
    st.sampled_from(["", "no trial is complete: 2 failed; ", "the best trial breaks a < 1; "]),
)
def test_who_has_stopped_a_run_is_read_of_its_reason(who: str, before: str) -> None:
    if "; stopped by " not in who and "; cancelled by " not in who:
        assert by_whom(before + stopped(who)) == who
        assert by_whom(before + cancelled(who)) == who
    assert outcome("complete", who) == f"stopped by {who}"


@pytest.mark.parametrize("reason", [None, "", "3 of 3 trials", "patience: stopped by 3 trials"])
def test_a_run_that_nobody_has_stopped_is_called_by_its_status(reason: str | None) -> None:
    assert by_whom(reason) is None
    assert outcome("complete", by_whom(reason)) == "complete"
    assert outcome("failed", "ada") == "failed", "its reason says by whom"
