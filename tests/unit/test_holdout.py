"""The hold-out file: its scores, or in words what is wrong with what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.promotion import holdout

TOO_LONG = b'{"acc": [1' + 400 * b"0" + b"]}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "holdout.json"


def test_nothing_is_there_of_the_metric(place: Path) -> None:
    assert holdout.read(place.parent, "acc") == ([], "")
    place.write_text('{"loss": [0.5, 0.25]}')
    assert holdout.read(place.parent, "acc") == ([], "")


@pytest.mark.parametrize(
    ("left", "scores"),
    [
        (b'{"acc": [1, 0.5, true]}', [1.0, 0.5, 1.0]),
        # What is not finite is for the gate to refuse.
        (b'{"acc": [1, Infinity]}', [1.0, float("inf")]),
        (b'{"loss": "what is beside it may be anything", "acc": [0]}', [0.0]),
    ],
)
def test_scores_are_read(place: Path, left: bytes, scores: list[float]) -> None:
    place.write_bytes(left)
    assert holdout.read(place.parent, "acc") == (scores, "")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (b"", "{place} is empty"),
        (b'{"acc": [1, 0, 1', "{place} is no JSON, or is cut short"),
        (b"\xff\xfe", "{place} is no JSON, or is cut short"),
        (b"[" * 100_000, "{place} is no JSON, or is cut short"),
        (b"[1, 0]", "{place} must be a JSON object"),
        (b'{"acc": []}', "acc in {place} must be a list of numbers, got none"),
        (b'{"acc": 0.5}', "acc in {place} must be a list of numbers, got 0.5"),
        (b'{"acc": null}', "acc in {place} must be a list of numbers, got null"),
        (
            b'{"acc": [1, "0.5"]}',
            'acc in {place} must be a list of numbers, got "0.5" at place 2',
        ),
        (b'{"acc": [null, 1]}', "acc in {place} must be a list of numbers, got null at place 1"),
        (b'{"acc": [[1], [0]]}', "acc in {place} must be a list of numbers, got [1] at place 1"),
        (TOO_LONG, "acc in {place} must be a list of numbers that a float can hold"),
    ],
)
def test_what_is_torn_is_told(place: Path, left: bytes, said: str) -> None:
    place.write_bytes(left)
    assert holdout.read(place.parent, "acc") == ([], said.format(place=place))


def test_a_file_over_the_limit_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write_text('{"acc": [1, 0]}')
    monkeypatch.setattr(holdout, "MAX_HOLDOUT", 14)
    assert holdout.read(place.parent, "acc") == ([], f"{place} is larger than 14 bytes")
    monkeypatch.setattr(holdout, "MAX_HOLDOUT", 15)
    assert holdout.read(place.parent, "acc") == ([1.0, 0.0], "")


def test_what_is_there_but_no_file_is_told(place: Path) -> None:
    place.mkdir()
    assert holdout.read(place.parent, "acc") == ([], f"{place} is no file that can be read")
    place.rmdir()
    place.symlink_to("nowhere")
    assert holdout.read(place.parent, "acc") == ([], f"{place} is no file that can be read")


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=9), st.data())
def test_a_file_that_is_cut_short_is_never_read_in_part(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("output")
    whole = json.dumps({"loss": [0.5], "acc": scores}).encode()
    (folder / "holdout.json").write_bytes(whole)
    assert holdout.read(folder, "acc") == (scores, "")
    (folder / "holdout.json").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    found, why = holdout.read(folder, "acc")
    assert (found, bool(why)) == ([], True)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_a_trial_leaves_is_scores_or_words(
    tmp_path_factory: pytest.TempPathFactory, left: bytes
) -> None:
    folder = tmp_path_factory.mktemp("output")
    (folder / "holdout.json").write_bytes(left)
    found, why = holdout.read(folder, "acc")
    assert not (found and why)
    assert all(isinstance(one, float) for one in found)
    assert len(why) < 1_000
