"""Trials on slots by their durations: in waves, and without them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.makespan import (
    cut_into_waves,
    idle_share,
    in_waves,
    share_waited,
    without_waves,
)

DURATIONS = st.lists(st.floats(0.0, 1e6), max_size=40)
SLOTS = st.integers(1, 12)


def test_by_hand() -> None:
    durations = [9.0, 1.0, 1.0, 9.0, 2.0]
    assert without_waves(durations, 2) == 11.0  # 9+2 beside 1+1+9
    assert cut_into_waves(durations, 2) == [[9.0, 1.0], [1.0, 9.0], [2.0]]
    assert in_waves(cut_into_waves(durations, 2), 2) == 20.0  # 9, 9, 2
    assert idle_share(durations, 11.0, 2) == pytest.approx(0.0)
    assert idle_share(durations, 20.0, 2) == pytest.approx(18 / 40)
    assert share_waited(cut_into_waves(durations, 2)) == pytest.approx(16 / 38)


@given(durations=DURATIONS, slots=SLOTS)
def test_without_waves_it_never_takes_longer(durations: list[float], slots: int) -> None:
    assert without_waves(durations, slots) <= in_waves(cut_into_waves(durations, slots), slots)


@given(waves=st.lists(st.lists(st.floats(0.0, 1e6), max_size=5), max_size=9), slots=SLOTS)
def test_nor_than_waves_of_any_width(waves: list[list[float]], slots: int) -> None:
    durations = [duration for wave in waves for duration in wave]
    assert without_waves(durations, slots) <= in_waves(waves, slots)


@given(duration=st.floats(0.0, 1e6), trials=st.integers(0, 40), slots=SLOTS)
def test_equal_trials_take_as_long_either_way(duration: float, trials: int, slots: int) -> None:
    waves = cut_into_waves([duration] * trials, slots)
    assert without_waves([duration] * trials, slots) == in_waves(waves, slots)
    assert share_waited(waves) == pytest.approx(0.0)


@given(durations=DURATIONS)
def test_on_one_slot_they_take_as_long_either_way(durations: list[float]) -> None:
    assert without_waves(durations, 1) == in_waves(cut_into_waves(durations, 1), 1)
    assert share_waited(cut_into_waves(durations, 1)) == pytest.approx(0.0)


@given(durations=DURATIONS, slots=SLOTS)
def test_shares_are_shares(durations: list[float], slots: int) -> None:
    took_s = without_waves(durations, slots)
    assert 0.0 <= idle_share(durations, took_s, slots) <= 1.0
    assert 0.0 <= share_waited(cut_into_waves(durations, slots)) <= 1.0


@given(durations=DURATIONS, slots=SLOTS)
def test_it_takes_at_least_the_longest_and_at_most_all(durations: list[float], slots: int) -> None:
    took_s = without_waves(durations, slots)
    assert max(durations, default=0.0) <= took_s <= sum(durations) * (1 + 1e-9)
