"""Drift: what is read of data, how that of two runs is compared, and what is said of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.trial import Direction
from hpo_lib.evaluation.drift import (
    MAX_CLASSES,
    MAX_FEATURES,
    ChampionCheck,
    Data,
    Score,
    compare,
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)
numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
features = st.fixed_dictionaries(
    {"mean": numbers, "std": numbers.map(abs), "missing": st.floats(0, 1)}
)
described = st.fixed_dictionaries(
    {
        "fingerprint": st.sampled_from(["a", "b"]),
        "rows": st.integers(0, 10**6),
        "classes": st.dictionaries(names, st.integers(1, 1000), min_size=1, max_size=5),
        "features": st.dictionaries(names, features, max_size=6),
    }
)
nearly = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.dictionaries(st.text(), features | json_values, max_size=5)
        for name in ("fingerprint", "rows", "classes", "features")
    },
)


def check(**changes: Any) -> ChampionCheck:
    time = datetime(2026, 3, 1, 2, tzinfo=UTC)
    then, now = Score.of([0.9, 0.92]), Score.of([0.88, 0.9])
    made = ChampionCheck(7, time, 2, "auc", Direction.MAXIMIZE, then, now)
    return replace(made, **changes)


@given(json_values | nearly)
def test_whatever_was_left_is_read_and_compared(plain: Any) -> None:
    found = Data.read(plain)
    assert all(math.isfinite(x) for one in found.features.values() for x in (one.mean, one.std))
    assert not found.classes or math.isclose(math.fsum(found.classes.values()), 1)
    for change in (compare(found, Data()), compare(Data(), found), compare(found, found)):
        assert all(one.isprintable() for one in change.sentences())
        json.dumps(check(data=change).dump(), allow_nan=False)


@given(described)
def test_the_same_data_has_not_drifted(plain: Any) -> None:
    change = compare(Data.read(plain), Data.read(json.loads(json.dumps(plain))))
    assert change.same
    assert change.classes == 0
    assert all(one.by == 0 for one in change.shifts)
    assert not change.gone
    assert not change.new


@given(described, described)
def test_drift_there_is_drift_back(one: Any, other: Any) -> None:
    there, back = (compare(Data.read(a), Data.read(b)) for a, b in [(one, other), (other, one)])
    assert there.classes == back.classes
    assert 0 <= (there.classes or 0) <= 1
    assert (there.gone, there.rows) == (back.new, back.rows[::-1])
    mine, theirs = ({s.name: s.by for s in change.shifts} for change in (there, back))
    assert mine == pytest.approx({name: -by for name, by in theirs.items()})


@given(described, described, st.sampled_from([0.25, 8.0, 1024.0]), st.integers(2, 9))
def test_the_unit_of_a_feature_and_the_number_of_rows_do_not_matter(
    one: Any, other: Any, unit: float, times: int
) -> None:
    def in_unit(plain: Any) -> Any:
        return plain | {
            "classes": {name: found * times for name, found in plain["classes"].items()},
            "features": {
                name: found | {"mean": found["mean"] * unit, "std": found["std"] * unit}
                for name, found in plain["features"].items()
            },
        }

    plain = compare(Data.read(one), Data.read(other))
    scaled = compare(Data.read(in_unit(one)), Data.read(in_unit(other)))
    assert [s.name for s in scaled.shifts] == [s.name for s in plain.shifts]
    assert [s.by for s in scaled.shifts] == pytest.approx([s.by for s in plain.shifts])
    assert scaled.classes == pytest.approx(plain.classes)


@given(described)
def test_shares_may_be_given_as_counts(plain: Any) -> None:
    whole = sum(plain["classes"].values())
    shares = {name: found / whole for name, found in plain["classes"].items()}
    change = compare(Data.read(plain), Data.read(plain | {"classes": shares}))
    assert change.classes == pytest.approx(0, abs=1e-12)


def test_figures_by_hand() -> None:
    then = {
        "rows": 100,
        "classes": {"no": 0.9, "yes": 0.1},
        "features": {
            "age": {"mean": 40, "std": 3},
            "pay": {"mean": 1, "std": 1, "missing": 0.0},
            "old": {"mean": 0, "std": 1},
        },
    }
    now = {
        "rows": 120,
        "classes": {"no": 0.7, "yes": 0.2, "maybe": 0.1},
        "features": {
            "age": {"mean": 45, "std": 4},
            "pay": {"mean": 1, "std": 1, "missing": 0.25},
            "new": {"mean": 0, "std": 1},
        },
    }
    change = compare(Data.read(then), Data.read(now))
    assert change.classes == pytest.approx(0.2)
    assert [one.name for one in change.shifts] == ["age", "pay"]
    assert change.shifts[0].by == pytest.approx(5 / math.sqrt((9 + 16) / 2))
    (said,) = change.sentences()
    assert said == (
        "The data since then: 120 rows, were 100; class shares have moved by 20 % in all (total "
        "variation); of 2 features those moved most: age by 1.41 standard deviations (40 to 45), "
        "pay by 0 standard deviations (1 to 1), missing in 25 %, were 0 %; old is gone; new is new."
    )


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("abc", "abc", "The data is the same as when it was made, by its fingerprint."),
        ("abc", "abd", "The data has changed, by its fingerprint; there is nothing to say how."),
        (
            None,
            "abc",
            "Whether the data has changed is not known: training left no statistics of it.",
        ),
    ],
)
def test_fingerprints_alone_say_whether(then: object, now: object, said: str) -> None:
    assert list(compare(Data.read(then), Data.read(now)).sentences()) == [said]


def test_what_is_read_is_bounded() -> None:
    one = {"mean": 0, "std": 1}
    many = {str(n): one for n in range(MAX_FEATURES + 1)}
    data = Data.read({"features": many, "classes": dict.fromkeys(map(str, range(1000)), 1)})
    assert len(data.features) == MAX_FEATURES
    assert not data.classes, "shares of a part would be shares of something else"
    assert Data.read({"classes": dict.fromkeys(map(str, range(MAX_CLASSES)), 1)}).classes
    assert len(Data.read({"fingerprint": "f" * 10_000}).fingerprint or "") < 200


def test_a_constant_that_changes_has_moved_as_far_as_there_is() -> None:
    then, now = ({"features": {"x": {"mean": mean, "std": 0}}} for mean in (1, 2))
    (shift,) = compare(Data.read(then), Data.read(now)).shifts
    assert shift.by == 100
    assert "by at least 100 standard" in next(compare(Data.read(then), Data.read(now)).sentences())


def test_a_champions_loss_is_said_with_its_error() -> None:
    (score, _) = check().sentences()
    assert score == (
        "The champion, version 2, trained again, has auc 0.89 ± 0.01 by 2 seeds; when it was "
        "made it had 0.91 ± 0.01: worse by 0.02 ± 0.01414."
    )
    assert check(direction=Direction.MINIMIZE).worse == pytest.approx(-0.02)
    assert "better by 0.02" in next(check(direction=Direction.MINIMIZE).sentences())
    assert "by one trial of the search" in next(check(now=Score(0.9), search=True).sentences())
    assert next(check(now=None).sentences()).endswith("has left no auc.")
    assert "is not known" in next(check(then=None).sentences())
    assert "the same" in next(check(now=check().then).sentences())
    assert list(check(program=("image was a, is b",)).sentences())[-1] == (
        "It was trained otherwise when it was made: image was a, is b."
    )


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=6), st.randoms())
def test_a_score_is_of_the_finite_values_in_whatever_order(values: list[float], draw: Any) -> None:
    mixed: list[object] = [*values, math.nan, math.inf, None, "x", True, 10**400]
    draw.shuffle(mixed)
    found = Score.of(mixed)
    assert found == Score.of(values)
    assert found is not None
    assert (found.error is None) == (len(values) == 1)


def test_a_score_of_nothing_is_none() -> None:
    assert Score.of([math.nan, None]) is None


@given(described, described)
def test_a_check_is_read_as_it_was_written(one: Any, other: Any) -> None:
    made = check(data=compare(Data.read(one), Data.read(other)), program=("a was b, is c",))
    stored = json.loads(json.dumps(made.dump()))
    read = ChampionCheck.read(stored)
    assert read is not None
    assert read == made
    assert list(read.sentences()) == list(made.sentences())
    assert read.dump() == made.dump()


@given(json_values)
def test_what_is_no_check_is_none(plain: Any) -> None:
    assert ChampionCheck.read(plain) is None
