"""What the other mode would have cost a run, beside what it took."""

from __future__ import annotations

from dataclasses import replace

from factories import SPEC, attempt, run, trial, view
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib import report
from hpo_lib.core.trial import Cause
from hpo_lib.records import AttemptState, RunView
from hpo_lib.report import modes, timeline
from hpo_lib.report.facts import Facts


def by_hand() -> RunView:
    """Two slots: 10 s and 4 s behind a barrier, 2 s later 8 s alone."""
    limits = {"max_trials": 3, "parallel_trials": 2}
    return RunView(
        run(SPEC | {"limits": limits}),
        (
            view(trial(0, 1.0), attempt(0, 5, 15)),
            view(trial(1, 1.0), attempt(1, 5, 9)),
            view(trial(2, 1.0), attempt(2, 17, 25), slot="wave-02"),
        ),
    )


def test_it_says_what_the_other_mode_would_have_cost() -> None:
    """Trials of 10 s, 4 s and 8 s: in waves 18 s with 14 of 36 s idle, else 12 s with 2 of 24."""
    said = (
        "With the same durations mode async would have taken 12s (idle 8 %), waves 18s (idle "
        "39 %), were there nothing between trials; this run took 20s."
    )
    assert modes.told_of(by_hand()) == said
    assert said in report.html(by_hand())
    slots = [replace(one, slot="slot-001") for one in by_hand().trials]
    other = modes.told_of(replace(by_hand(), trials=slots))
    assert other == said.replace(
        "mode async would have taken 12s (idle 8 %), waves 18s (idle 39 %)",
        "waves would have taken 18s (idle 39 %), mode async 12s (idle 8 %)",
    )


def test_modes_that_cost_the_same_are_told_as_one_or_not_at_all() -> None:
    alike = [
        view(trial(number, 1.0), attempt(number, 10 * wave, 10 * wave + 9), slot=f"wave-0{wave}")
        for wave in (1, 2)
        for number in (2 * wave - 1, 2 * wave)
    ]
    made = replace(by_hand(), trials=alike)
    assert modes.told_of(made) == "With the same durations mode async would have taken as long."
    assert modes.told_of(replace(made, trials=alike[:2])) is None, "there is but one wave"
    one = run(SPEC | {"limits": {"max_trials": 4, "parallel_trials": 1}})
    assert modes.told_of(replace(made, run=one)) is None, "nobody waits for anybody"
    assert modes.told_of(replace(made, run=replace(made.run, ended_at=None))) is None


@given(
    times=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 50)), max_size=20),
    slots=st.integers(1, 5),
)
def test_the_mode_async_never_costs_more(times: list[tuple[int, int]], slots: int) -> None:
    views = [
        view(trial(n, 1.0), attempt(n, first, first + lasted), slot=f"wave-{n // slots + 1:02d}")
        for n, (first, lasted) in enumerate(times)
    ]
    found = modes.compared(timeline.bars(Facts.of(RunView(run(), views))), slots)
    assert found is None or found.without.took_s <= found.in_waves.took_s


def test_attempts_of_a_trial_follow_each_other_and_rungs_part_them() -> None:
    """Slot by slot: 3 + 4 s and 5 s; then 2 s, and the second rung of the last trial, 6 s."""
    lost = attempt(0, 0, 3, state=AttemptState.FAILED, cause=Cause.LOST)
    views = [
        view(trial(0, 1.0), lost, attempt(0, 3, 7, number=2), slot="wave-01"),
        view(trial(1, 1.0), attempt(1, 0, 5), attempt(1, 9, 15, number=2), slot="wave-02"),
        view(trial(2, 1.0), attempt(2, 7, 9), slot="wave-02"),
    ]
    found = modes.compared(timeline.bars(Facts.of(RunView(run(), views))), 2)
    assert found is not None
    assert (found.in_waves.took_s, found.without.took_s) == (13.0, 13.0)
