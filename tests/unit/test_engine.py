"""The engine: stop rules and their order, initial points, numbering, limits, verdicts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.retry_policy import counts
from hpo_lib.core.space import key
from hpo_lib.core.trial import Action, Cause, Decision, History, Origin, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.search import engine, stopping, suggesting
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import seed


def spec(limits: dict[str, Any] | None = None, **parts: Any) -> Spec:
    """Make a spec with 12 configurations and a random sampler."""
    return load(
        {
            "name": "test",
            "objective": {"metric": "auc", "direction": "maximize"},
            "space": {
                "units": {"type": "int", "low": 1, "high": 6},
                "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
            },
            "sampler": {"name": "random"},
            "limits": {"max_trials": 10, "parallel_trials": 4} | (limits or {}),
            "trial": {"command": ["train"]},
        }
        | parts
    )


def params(number: int) -> dict[str, Any]:
    """Give the configuration of a trial: all differ for numbers 1 to 12."""
    return {"units": (number - 1) % 6 + 1, "optimizer": "adam" if number <= 6 else "sgd"}


def history(outcomes: Sequence[float | Cause | None], *, elapsed_s: float = 0.0) -> History:
    """Make trials of 60 s from values, causes of failure, and None for under way."""
    return History(
        tuple(_trial(number, outcome) for number, outcome in enumerate(outcomes, 1)), elapsed_s
    )


def _trial(number: int, outcome: float | Cause | None) -> Trial:
    if outcome is None:
        return Trial(number, params(number))
    if isinstance(outcome, Cause):
        return Trial(number, params(number), TrialState.FAILED, cause=outcome, duration_s=60.0)
    return Trial(number, params(number), TrialState.COMPLETE, outcome, duration_s=60.0)


CHOICE = {"type": "categorical", "choices": ["adam", "sgd"]}
USER, MEMORY, LOST = Cause.USER_ERROR, Cause.OUT_OF_MEMORY, Cause.LOST
TARGET = {"metric": "auc", "direction": "maximize", "target": 0.9}
LOSS = {"metric": "loss", "direction": "minimize", "target": 0.1}


@pytest.mark.parametrize(
    ("made", "past", "reason"),
    [
        # Target: reached, met exactly, and the other direction.
        (spec(objective=TARGET), history([0, 0.95]), "target reached: auc 0.95 >= 0.9 in trial 2"),
        (spec(objective=TARGET), history([0.9]), "target reached: auc 0.9 >= 0.9 in trial 1"),
        (spec(objective=LOSS), history([0.5, 0.05]), "target reached: loss 0.05 <= 0.1 in trial 2"),
        (spec(objective=TARGET), history([0.89]), None),
        # Failure budget: one more than is tolerated; what the world did does not count.
        (
            spec({"max_failed_trials": 2}),
            history([USER, 0.5, MEMORY, USER]),
            "failure budget spent: 3 failed (user_error 2, out_of_memory 1), "
            "limits.max_failed_trials is 2 and one more ends the run",
        ),
        (spec({"max_failed_trials": 2}), history([USER, 0.5, MEMORY]), None),
        (spec({"max_failed_trials": 2}), history([LOST, LOST, LOST, LOST]), None),
        (
            spec({"max_failed_trials": 0}),
            history([USER]),
            "failure budget spent: 1 failed (user_error 1), limits.max_failed_trials is 0 "
            "and one more ends the run",
        ),
        # Duration: passed already, would be passed, would just not be; nothing known yet.
        (
            spec({"max_duration": "10m"}),
            history([0.5], elapsed_s=600),
            "duration: 10m 00s have passed, a trial takes 1m 00s (median of 1), "
            "limits.max_duration is 10m",
        ),
        (
            spec({"max_duration": "10m"}),
            history([0.5, None, USER], elapsed_s=541),
            "duration: 9m 01s have passed, a trial takes 1m 00s (median of 2), "
            "limits.max_duration is 10m",
        ),
        (spec({"max_duration": "10m"}), history([0.5], elapsed_s=540), None),
        (spec({"max_duration": "10m"}), history([], elapsed_s=599), None),
        (
            spec({"max_duration": "10m"}),
            history([], elapsed_s=7000),
            "duration: 1h 56m have passed, limits.max_duration is 10m",
        ),
        # Trials: made, also those under way.
        (spec({"max_trials": 3}), history([0.5, None, USER]), "max trials reached: 3 of 3"),
        (spec({"max_trials": 4}), history([0.5, None, USER]), None),
        # The predicted end is no reason when nothing would be started any more.
        (
            spec({"max_trials": 2, "max_duration": "10m"}),
            history([0.5, 0.5], elapsed_s=590),
            "max trials reached: 2 of 2",
        ),
        # Space.
        (
            spec({"max_trials": 99}),
            history([0.5] * 12),
            "space exhausted: 12 trials have tried every configuration",
        ),
        # Patience: counted in complete trials, from the first of equals.
        (
            spec({"patience": 2}),
            history([0.5, USER, 0.5, None, 0.4]),
            "patience: no improvement in the last 2 complete trials, limits.patience is 2; "
            "best auc 0.5 in trial 1",
        ),
        (spec({"patience": 2}), history([0.5, USER, 0.5, None]), None),
        (spec({"patience": 2}), history([0.5, 0.4, 0.6]), None),
        (spec({"patience": 1}), history([USER, None]), None),
    ],
)  # fmt: skip
def test_a_run_stops_for_a_reason(made: Spec, past: History, reason: str | None) -> None:
    step = engine.step(made, past, 4)
    if reason is None:
        assert step.stop is None
        assert step.assignments
        return
    assert step.stop is not None
    assert step.stop.reason == reason
    assert step.stop.action is Action.STOP
    assert step.stop.failed == reason.startswith("failure budget")
    assert not step.assignments


@given(st.lists(st.sampled_from([0.5, None, *Cause]), max_size=10), st.integers(0, 9))
def test_the_failure_budget_is_spent_by_one_failure_more_than_it_tolerates(
    outcomes: list[float | Cause | None], budget: int
) -> None:
    spent = stopping.failure_budget_spent(spec({"max_failed_trials": budget}), history(outcomes))
    failed = [one for one in outcomes if isinstance(one, Cause) and counts(one)]
    assert (spent is not None) == (len(failed) > budget)
    if spent is not None:
        assert f"limits.max_failed_trials is {budget} and one more ends the run" in spent.reason


@pytest.mark.parametrize(
    ("lifted", "reason"),
    [
        (0, "target reached"),
        (1, "failure budget spent"),
        (2, "duration"),
        (3, "max trials reached"),
        (4, "space exhausted"),
        (5, "patience"),
    ],
)
def test_the_first_rule_that_holds_gives_the_reason(lifted: int, reason: str) -> None:
    limits = {"max_trials": 12, "max_failed_trials": 1, "max_duration": "10m", "patience": 2}
    wider = {"units": {"type": "int", "low": 1, "high": 7}, "optimizer": CHOICE}
    lifts = [
        {"objective": TARGET | {"target": 2.0}},
        {"limits": limits | {"max_failed_trials": 9}},
        {"limits": {"max_trials": 12, "max_failed_trials": 9, "patience": 2}},
        {"limits": {"max_trials": 99, "max_failed_trials": 9, "patience": 2}},
        {"space": wider},
    ]
    parts: dict[str, Any] = {"objective": TARGET, "limits": limits}
    for lift in lifts[:lifted]:
        parts |= lift
    past = history([0.95, USER, USER, *[0.5] * 9], elapsed_s=700)
    stop = engine.step(spec(parts.pop("limits"), **parts), past, 1).stop
    assert stop is not None
    assert stop.reason.split(":")[0] == reason


POINTS = [{"units": 3, "optimizer": "sgd"}, {"units": 1, "optimizer": "adam"}]


def test_initial_points_come_first_and_numbers_go_on() -> None:
    made = spec(initial_points=POINTS)
    first = engine.step(made, History(), 3).assignments
    assert [a.trial for a in first] == [1, 2, 3]
    assert [dict(a.params) for a in first[:2]] == POINTS
    assert [a.origin for a in first] == [Origin.INITIAL, Origin.INITIAL, Origin.SAMPLER]
    past = History((Trial(1, POINTS[0]),))
    second = engine.step(made, past, 2).assignments
    assert [a.trial for a in second] == [2, 3]
    assert dict(second[0].params) == POINTS[1]
    assert second[1].origin is not Origin.INITIAL


def test_no_more_trials_start_than_there_are_slots_or_are_left() -> None:
    made = spec({"max_trials": 5})
    assert len(engine.step(made, history([0.5, None]), 2).assignments) == 2
    assert len(engine.step(made, history([0.5, None]), 9).assignments) == 3
    step = engine.step(made, history([0.5, None]), 0)
    assert step.stop is None
    assert not step.assignments


def test_running_trials_are_judged() -> None:
    step = engine.step(spec(), history([0.5, None, None]), 1)
    assert {number: decision.action for number, decision in step.decisions.items()} == {
        2: Action.GO_ON,
        3: Action.GO_ON,
    }
    assert all(decision.reason for decision in step.decisions.values())


@pytest.mark.parametrize("sampler", ["random", "sobol", "grid", "bayesian"])
def test_the_same_history_gets_the_same_step_and_stays_as_it_was(sampler: str) -> None:
    made = spec(sampler={"name": sampler})
    past = history([0.5, USER, None, 0.7, 0.2, 0.3])
    before = copy.deepcopy(past)
    assert engine.step(made, past, 3) == engine.step(load(made.dump()), past, 3)
    assert past == before


def test_the_last_unused_point_of_a_large_finite_space_is_found() -> None:
    space = {
        "units": {"type": "int", "low": 1, "high": 2304},
        "batch": {"type": "ordinal", "choices": list(range(1, 11))},
    }
    made = spec(space=space)
    search = suggesting.search(made)
    grid = search.space.grid
    assert grid.size == 23_040
    left = {7, 20_000}
    past = History(tuple(Trial(n, grid[n]) for n in range(grid.size) if n not in left))
    found = suggesting.suggest(search, past, 5)
    assert sorted(grid.index(s.params) for s in found) == sorted(left)
    assert {s.origin for s in found} == {Origin.FALLBACK}


def test_a_repeated_draw_is_replaced() -> None:
    search = suggesting.search(spec())
    past = History()
    keys: list[str] = []
    while batch := suggesting.suggest(search, past, 1):
        keys += [key(s.params) for s in batch]
        past = History((*past.trials, Trial(len(past.trials) + 1, batch[0].params)))
    assert len(set(keys)) == len(keys) == 12


def test_a_continuous_space_of_few_numbers_ends() -> None:
    made = spec(space={"x": {"type": "float", "low": 1e9, "high": 1e9 + 2}})
    search = suggesting.search(made)
    batch = suggesting.suggest(search, History(), 10)
    assert len({key(s.params) for s in batch}) == len(batch) == 3
    past = History(tuple(Trial(n, s.params) for n, s in enumerate(batch, 1)))
    stop = engine.step(made, past, 1).stop
    assert stop is not None
    assert stop.reason == "space exhausted: 3 trials have tried every configuration"


def test_a_history_that_the_space_no_longer_allows_is_tolerated() -> None:
    past = History((Trial(1, {"units": 99, "other": 1}, TrialState.COMPLETE, 1.0),))
    assert len(engine.step(spec(), past, 3).assignments) == 3


WIDE = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "optimizer": CHOICE}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            spec({"max_trials": 24}),
            "limits.max_trials: must be <= 12, the number of configurations in the space, got 24",
        ),
        (
            spec(sampler={"name": "grid", "fraction": 0.5}),
            "limits.max_trials: must be <= 6, the number of configurations in the fraction of "
            "the grid, got 10",
        ),
        (
            spec({"max_trials": 1}, initial_points=POINTS),
            "initial_points: must be at most 1, the limits.max_trials, got 2",
        ),
        (
            spec(space=WIDE, sampler={"name": "grid"}),
            "space: a grid needs finitely many values, got x without end; give a step, or list "
            "the values as an ordinal",
        ),
        (
            spec(sampler={"name": "grid", "shufle": True}),
            "sampler: unknown key \"shufle\", did you mean 'shuffle'?; "
            "known to grid: name, seed, fraction, shuffle",
        ),
        (
            spec(sampler={"name": "random", "xi": 5}),
            'sampler: unknown key "xi"; known to random: name, seed',
        ),
        (
            spec(sampler={"name": "grid", "fraction": "5", "shuffle": 1}),
            'sampler.fraction: must be a number, got "5"\n'
            "sampler.shuffle: must be true or false, got 1",
        ),
        # What `auto` does not choose is not known.
        (
            spec({"max_trials": 12, "parallel_trials": 12}, sampler={"fraction": 0.5, "xi": 1}),
            'sampler: unknown key "xi"; known to grid: name, seed, fraction, shuffle',
        ),
        (
            spec({"max_trials": 4}, sampler={"seed": 4, "fraction": 0.5}),
            'sampler: unknown key "fraction"; known to sobol: name, seed',
        ),
        (
            spec(sampler={"name": "grid", "fraction": 0}),
            "sampler.fraction: must be greater than 0, got 0",
        ),
    ],
)
def test_what_the_model_of_the_spec_cannot_see_is_checked(made: Spec, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        engine.check(made)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("made", "room"),
    [
        (spec(), 12),
        (spec(space=WIDE), None),
        (spec({"max_trials": 6}, sampler={"name": "grid", "fraction": 0.5}), 6),
        (spec(sampler={"name": "bayesian", "initial": 3}), 12),
    ],
)
def test_the_capacity_is_what_a_run_can_try(made: Spec, room: int | None) -> None:
    engine.check(made)
    assert suggesting.configurations(made) == room


def test_a_fraction_of_the_grid_and_its_initial_points_are_tried_to_the_last() -> None:
    points = [params(number) for number in range(1, 13)]
    made = spec(sampler={"name": "grid", "fraction": 0.4}, initial_points=points[:4])
    room = suggesting.configurations(made)
    assert room is not None
    batch = suggesting.suggest(suggesting.search(made), History(), 12)
    assert len(batch) == room
    past = History(tuple(Trial(n, s.params) for n, s in enumerate(batch, 1)))
    stop = engine.step(spec({"max_trials": 12}, **_parts(made)), past, 1).stop
    assert stop is not None
    assert stop.reason == f"space exhausted: {room} trials have tried every configuration"


def _parts(made: Spec) -> dict[str, Any]:
    dump = made.dump()
    return {name: dump[name] for name in ("sampler", "initial_points")}


@pytest.mark.parametrize(("trials", "parallel", "count"), [(10, 4, 3), (8, 4, 2), (1, 9, 1)])
def test_waves_are_rounded_up(trials: int, parallel: int, count: int) -> None:
    assert engine.waves(spec({"max_trials": trials, "parallel_trials": parallel})) == count


SIZE = {"metric": "size", "direction": "minimize"}
GAP = "gap <= 0.1"


def rich(*rows: tuple[float, float, float] | None) -> History:
    """Make complete trials of auc, size and gap; None is one that failed."""
    trials = []
    for number, row in enumerate(rows, 1):
        trial = Trial(number, params(number), TrialState.FAILED, cause=USER)
        if row is not None:
            metrics = dict(zip(("auc", "size", "gap"), row, strict=True))
            trial = Trial(number, params(number), TrialState.COMPLETE, row[0], metrics=metrics)
        trials.append(trial)
    return History(tuple(trials))


@pytest.mark.parametrize(
    ("objective", "constraints", "limits", "past", "reason"),
    [
        # One trial has to reach every target that is given, and to be feasible.
        ([TARGET, SIZE | {"target": 3}], [], {}, rich((0.95, 9, 0), (0.5, 2, 0)), None),
        (
            [TARGET, SIZE | {"target": 3}],
            [],
            {},
            rich((0.95, 9, 0), (0.9, 3, 0)),
            "target reached: auc 0.9 >= 0.9, size 3 <= 3 in trial 2",
        ),
        (
            [TARGET, SIZE],
            [],
            {},
            rich((0.8, 1, 0), (0.95, 99, 0)),
            "target reached: auc 0.95 >= 0.9 in trial 2",
        ),
        (
            [TARGET | {"target": None}, SIZE | {"target": 1}],
            [],
            {},
            rich((0.1, 9, 0), (0.2, 1, 0)),
            "target reached: size 1 <= 1 in trial 2",
        ),
        (TARGET, [GAP], {}, rich((0.95, 1, 0.2), (0.5, 1, 0)), None),
        (
            TARGET,
            [GAP],
            {},
            rich((0.95, 1, 0.2), (0.92, 1, 0.1)),
            "target reached: auc 0.92 >= 0.9 in trial 2",
        ),
        # Patience: what changes the front joins it, be it worse in the first objective.
        ([TARGET, SIZE], [], {"patience": 2}, rich((0.5, 2, 0), (0.4, 3, 0), (0.1, 1, 0)), None),
        (
            [TARGET, SIZE],
            [],
            {"patience": 2},
            rich((0.5, 9, 0), (0.4, 2, 0), (0.4, 2, 0), None, (0.3, 3, 0)),
            "patience: no improvement in the last 2 complete trials, limits.patience is 2; "
            "2 trials on the Pareto front, the newest is trial 2",
        ),
        # What is not feasible improves nothing; nothing feasible, nothing to be patient about.
        (
            TARGET,
            [GAP],
            {"patience": 2},
            rich((0.5, 1, 0), (0.8, 1, 1), (0.8, 1, 1)),
            "patience: no improvement in the last 2 complete trials, limits.patience is 2; "
            "best auc 0.5 in trial 1",
        ),
        (TARGET, [GAP], {"patience": 2}, rich((0.5, 1, 1), (0.8, 1, 1), (0.8, 1, 1)), None),
    ],
)
def test_targets_and_patience_look_at_the_feasible_front(
    objective: Any, constraints: list[str], limits: dict[str, Any], past: History, reason: str
) -> None:
    made = spec(limits, objective=objective, constraints=constraints)
    stop = engine.step(made, past, 1).stop
    assert (stop.reason if stop else None) == reason


def test_a_run_without_a_feasible_trial_is_complete_and_names_the_nearest() -> None:
    made = spec(constraints=[GAP, "size <= 100"])
    past = rich((0.9, 500, 0.2), (0.1, 110, 0.3), (0.2, 300, 0.0))
    assert engine.conclude(made, past, MAX) == Decision.stop(
        "no trial keeps the constraints: trial 3 comes nearest, where size <= 100 is exceeded by "
        "200; max trials reached: 2 of 2"
    )
    assert engine.conclude(made, past, BUDGET) == BUDGET
    off = engine.conclude(made, past, None)
    assert off.failed
    assert off.reason.startswith("broken off: ")


def test_a_run_with_a_feasible_trial_ends_as_it_stopped() -> None:
    made = spec(constraints=[GAP])
    assert engine.conclude(made, rich((0.9, 1, 0.2), (0.1, 1, 0.0)), MAX) == MAX


BUDGET = Decision.stop("failure budget spent: …", failed=True)
MAX = Decision.stop("max trials reached: 2 of 2")


@pytest.mark.parametrize(
    ("past", "stop", "conclusion"),
    [
        (history([0.5, USER]), MAX, MAX),
        (history([0.5, USER]), BUDGET, BUDGET),
        (history([USER, USER]), BUDGET, BUDGET),
        (
            history([0.5, 0.4]),
            None,
            Decision.stop(
                "broken off: 2 of 10 trials, and no wave after them was answered; "
                "see the first red control task",
                failed=True,
            ),
        ),
        (
            history([USER, LOST]),
            MAX,
            Decision.stop(
                "no trial is complete: 2 failed (user_error 1, lost 1); max trials reached: 2 of 2",
                failed=True,
            ),
        ),
        (history([]), None, Decision.stop("no trial is complete: 0 failed", failed=True)),
    ],
)
def test_a_run_without_a_complete_trial_has_failed(
    past: History, stop: Decision | None, conclusion: Decision
) -> None:
    assert engine.conclude(spec(), past, stop) == conclusion


ALIKE = "exit code 2: can't open file 'churn.py' in trial-{}"
OTHER = "exit code 1: KeyError: 'units'"


def failed(number: int, reason: str | None, cause: Cause = USER) -> Trial:
    return Trial(number, params(number), TrialState.FAILED, cause=cause, reason=reason)


def first_wave(count: int, cause: Cause = USER) -> list[Trial]:
    return [failed(number, ALIKE.format(number), cause) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("trials", "parallel", "stops"),
    [
        (first_wave(3), 3, True),
        (first_wave(3), 4, True),  # a wave of which one trial was reused or never begun
        (first_wave(2, Cause.OBJECTIVE_MISSING), 2, True),
        (first_wave(2, Cause.IMAGE_NOT_PULLABLE), 2, True),
        ([*first_wave(2), _trial(3, 0.5)], 3, False),
        ([*first_wave(2), failed(3, OTHER)], 3, False),
        ([*first_wave(2), failed(3, ALIKE.format(3), MEMORY)], 3, False),
        (first_wave(3), 2, False),  # it is the second wave
        (first_wave(1), 1, False),  # one failure shows nothing of the next trial
        (first_wave(3, MEMORY), 3, False),  # a smaller network may fit
        (first_wave(3, Cause.TIMEOUT), 3, False),
        ([failed(1, None), failed(2, None)], 2, False),
    ],
)
def test_a_first_wave_that_fails_alike_ends_the_run(
    trials: list[Trial], parallel: int, stops: bool
) -> None:
    made = spec({"parallel_trials": parallel, "max_failed_trials": 9})
    step = engine.step(made, History(tuple(trials)), parallel)
    assert (step.stop is not None) == stops
    if step.stop is not None:
        why = f"{trials[0].cause}: {ALIKE.format(1)}"
        assert step.stop.reason == (
            f"all {len(trials)} trials of the first wave failed alike: {why}"
        )
        assert step.stop.failed
        assert engine.conclude(made, History(tuple(trials)), step.stop) == step.stop


@pytest.mark.parametrize("name", ["auto", "bayesian", "random", "sobol", "qmc"])
def test_runs_with_the_same_seed_begin_with_the_same_trials_and_with_another_do_not(
    name: str,
) -> None:
    """As docs/spec.md says; seed and environment of a trial are the same, too."""

    def begin(**sampler: Any) -> list[tuple[Any, int]]:
        space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
        made = spec(space=space, sampler={"name": name, **sampler})
        given = engine.step(made, History(), 4).assignments
        return [(one.params, seed(made, Trial(one.trial, one.params))) for one in given]

    assert begin() == begin(seed=0)
    assert {str(one) for one in begin()}.isdisjoint(str(one) for one in begin(seed=1))
