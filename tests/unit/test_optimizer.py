"""Ask and tell: the engine's own suggestions, what is observed, and that the model pays."""

from __future__ import annotations

import ast
import math
import statistics
import textwrap
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpo_lib
from hpo_lib.core.space import Space, key
from hpo_lib.core.trial import Cause, History, Origin, Suggestion, Trial, TrialState
from hpo_lib.errors import SpecError
from hpo_lib.registry import AUTO, SAMPLERS
from hpo_lib.samplers import NoSettings, Sampler
from hpo_lib.search import engine, parts
from hpo_lib.search.optimizer import Optimizer
from hpo_lib.spec import load

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
    "units": {"type": "int", "low": 16, "high": 256, "step": 16},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "rms"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    "drop": {"type": "float", "low": 0.0, "high": 0.5},
}
SMALL = {"n": {"type": "int", "low": 1, "high": 5}}


def smooth(params: dict[str, Any]) -> float:
    """Give a bowl with an offset per optimizer; its minimum is 0."""
    value = (math.log10(params["lr"]) + 2.5) ** 2 + ((params["units"] - 144) / 100) ** 2
    value += 10 * (params["drop"] - 0.2) ** 2
    value += {"adam": 0.3, "sgd": 0.0, "rms": 0.8}[params["optimizer"]]
    return value + (params.get("momentum", 0.9) - 0.9) ** 2


def test_the_example_in_its_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, rest = (Optimizer.__doc__ or "").partition("```python\n")
    example, fence, _ = rest.partition("```")
    assert fence
    exec(textwrap.dedent(example), {"Optimizer": Optimizer})
    params, value = ast.literal_eval(capsys.readouterr().out)
    assert value == (params["x"] - 1) ** 2
    assert value < 0.1


def test_numbers_beyond_range_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"seed: must be within \[0, 2\*\*32\), got -1"):
        Optimizer(SPACE, seed=-1)
    with pytest.raises(SpecError, match="value: must be a number or None that is not beyond"):
        Optimizer(SPACE).observe(Optimizer(SPACE).suggest(1)[0], 10**400)


@pytest.mark.parametrize(
    "parameter",
    [
        {"type": "int", "low": 1, "high": 3},
        {"type": "float", "low": 1, "high": 3},
        {"type": "float", "low": 1, "high": 3, "step": 1},
    ],
)
@pytest.mark.parametrize("beyond", [10**400, -(10**400), math.inf])
def test_a_number_that_is_not_finite_is_told_so(parameter: dict[str, Any], beyond: float) -> None:
    optimizer = Optimizer({"x": parameter})
    with pytest.raises(SpecError, match="x: must be a finite number, got"):
        optimizer.observe({"x": beyond}, 0.5)
    if isinstance(beyond, int):
        for given in ((beyond, None), (0.5, {"m": beyond})):
            with pytest.raises(SpecError, match=r"must be a number .*finite"):
                optimizer.observe({"x": 1}, *given)
    with pytest.raises(SpecError, match=r"space\.x\.high: must be (a finite number|less)"):
        Optimizer({"x": {"type": "float", "low": 1, "high": beyond}})


def best_after(sampler: str, seed: int, waves: int = 8, parallel: int = 3) -> float:
    optimizer = Optimizer(SPACE, sampler, seed=seed)
    for _ in range(waves):
        for params in optimizer.suggest(parallel):
            optimizer.observe(params, smooth(params))
    assert optimizer.best is not None
    return optimizer.best[1]


def test_the_model_beats_random_search_clearly() -> None:
    seeds = range(5)
    modelled = statistics.median(best_after("bayesian", seed) for seed in seeds)
    random = statistics.median(best_after("random", seed) for seed in seeds)
    assert modelled < random / 2


def test_it_is_offered_by_the_package() -> None:
    assert hpo_lib.Optimizer is Optimizer


def test_suggestions_are_those_of_the_engine() -> None:
    conf = {
        "name": "same",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": SPACE,
        "sampler": {"name": "bayesian", "seed": 3, "initial": 4},
        "limits": {"max_trials": 100},
        "trial": {"command": ["train"]},
    }
    optimizer = Optimizer(SPACE, seed=3, initial=4)
    trials: list[Trial] = []
    for _ in range(4):
        assigned = engine.step(load(conf), History(tuple(trials)), 3).assignments
        suggested = optimizer.suggest(3)
        assert suggested == [dict(assignment.params) for assignment in assigned]
        for params in suggested:
            value = smooth(params)
            trials.append(Trial(len(trials) + 1, params, TrialState.COMPLETE, value))
            optimizer.observe(params, value)
    assert [(t.number, t.params, t.value) for t in optimizer.trials] == [
        (t.number, t.params, t.value) for t in trials
    ]


def test_a_used_up_space_gives_fewer_and_then_none() -> None:
    optimizer = Optimizer(SMALL)
    assert len(optimizer.suggest(3)) == 3
    assert len(optimizer.suggest(3)) == 2
    assert optimizer.suggest(3) == []
    assert {key(trial.params) for trial in optimizer.trials} == {key({"n": n}) for n in range(1, 6)}


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, Cause.OBJECTIVE_MISSING),
        (float("nan"), Cause.OBJECTIVE_NOT_FINITE),
        (-math.inf, Cause.OBJECTIVE_NOT_FINITE),
        (np.float64("nan"), Cause.OBJECTIVE_NOT_FINITE),
    ],
)
def test_no_number_means_failed(value: Any, cause: Cause) -> None:
    optimizer = Optimizer(SMALL)
    (params,) = optimizer.suggest()
    optimizer.observe(params, value)
    (trial,) = optimizer.trials
    assert (trial.state, trial.cause, trial.value) == (TrialState.FAILED, cause, None)
    assert optimizer.best is None


def test_points_of_ones_own_are_recorded() -> None:
    optimizer = Optimizer(Space.parse(SMALL), direction="maximize")
    optimizer.observe({"n": 2}, np.float32(1.5))
    optimizer.observe({"n": 3}, 1)
    assert optimizer.best == ({"n": 2}, 1.5)
    assert type(optimizer.trials[0].value) is float
    assert [trial.origin for trial in optimizer.trials] == [Origin.INITIAL] * 2
    assert {params["n"] for params in optimizer.suggest(9)} == {1, 4, 5}


def test_a_second_observation_replaces_the_first() -> None:
    optimizer = Optimizer(SMALL)
    for value in (1.0, None, 3.0):
        optimizer.observe({"n": 2}, value)
    (trial,) = optimizer.trials
    assert (trial.state, trial.value, trial.cause) == (TrialState.COMPLETE, 3.0, None)


GAP = "gap <= 0.1"


def test_several_objectives_have_a_front() -> None:
    optimizer = Optimizer(SMALL, "random", ["minimize", "maximize"])
    rows = [(1.0, 5.0), (2.0, 9.0), (2.0, 4.0), (0.5, 1.0), None]
    for n, values in enumerate(rows, 1):
        optimizer.observe({"n": n}, values)
    assert optimizer.front == [
        ({"n": 1}, (1.0, 5.0)),
        ({"n": 2}, (2.0, 9.0)),
        ({"n": 4}, (0.5, 1.0)),
    ]
    assert optimizer.best == ({"n": 4}, (0.5, 1.0))
    assert [trial.state for trial in optimizer.trials][-1] is TrialState.FAILED


def test_what_breaks_a_constraint_is_not_the_best() -> None:
    optimizer = Optimizer(SMALL, "random", constraints=[GAP, "objective >= 0"])
    optimizer.observe({"n": 1}, 0.5, {"gap": 0.2})
    assert (optimizer.best, optimizer.front) == (None, [])
    optimizer.observe({"n": 2}, 0.75, metrics={"gap": 0.1})
    optimizer.observe({"n": 3}, -1.0, metrics={"gap": np.float32(0.0)})
    assert optimizer.best == ({"n": 2}, 0.75)
    assert optimizer.front == [({"n": 2}, 0.75)]
    assert optimizer.trials[0].metrics == {"gap": 0.2, "objective": 0.5}


@pytest.mark.parametrize(
    ("values", "metrics", "cause", "reason"),
    [
        ([1.0, None], {"gap": 0.0}, Cause.OBJECTIVE_MISSING, "no value"),
        ([1.0, math.nan], {"gap": 0.0}, Cause.OBJECTIVE_NOT_FINITE,
         "the value of objective_2 is nan"),
        ([1.0, 2.0], {"gap": math.inf}, Cause.OBJECTIVE_NOT_FINITE, "the value of gap is inf"),
        (None, None, Cause.OBJECTIVE_MISSING, "no value"),
    ],
)  # fmt: skip
def test_an_observation_that_lacks_a_number_has_failed(
    values: Any, metrics: Any, cause: Cause, reason: str
) -> None:
    optimizer = Optimizer(SMALL, "random", ["minimize"] * 2, constraints=[GAP])
    optimizer.observe({"n": 1}, values, metrics)
    (trial,) = optimizer.trials
    assert (trial.state, trial.cause, trial.reason) == (TrialState.FAILED, cause, reason)
    assert trial.metrics == {}


def test_rungs_are_kept_beside_the_value() -> None:
    optimizer = Optimizer(SMALL)
    (params,) = optimizer.suggest()
    optimizer.observe_rung(params, 3, 0.9)
    optimizer.observe_rung(params, 9, np.float64(0.7))
    (trial,) = optimizer.trials
    assert (trial.state, trial.rungs) == (TrialState.RUNNING, {3.0: 0.9, 9.0: 0.7})
    optimizer.observe(params, 0.5)
    (trial,) = optimizer.trials
    assert (trial.state, trial.value, trial.rungs) == (
        TrialState.COMPLETE,
        0.5,
        {3.0: 0.9, 9.0: 0.7},
    )


class Recorder(Sampler):
    """Keeps the history that it is asked with."""

    Settings = NoSettings

    def suggest(self, history: History, count: int) -> list[Suggestion]:
        """Remember, and suggest nothing."""
        type(self).seen = history
        return []


def test_earlier_runs_are_handed_on_without_what_the_space_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "load", lambda *_: Recorder)
    runs = [
        ([({"n": 2.0}, 0.5), ({"n": 9}, 0.1), ({"m": 1}, 0.2), ({"n": 3}, None)], 0.25),
        (iter([({"n": 2}, 0.6, {"gap": 0.3})]), 1),
    ]
    optimizer = Optimizer(SMALL, "random", constraints=[GAP], earlier=runs)
    assert optimizer.dropped == 2
    optimizer.suggest()
    first, second = Recorder.seen.earlier
    assert (first.weight, second.weight) == (0.25, 1.0)
    assert [(t.number, t.params, t.value, t.state) for t in first.trials] == [
        (1, {"n": 2}, 0.5, TrialState.COMPLETE),
        (2, {"n": 3}, None, TrialState.FAILED),
    ]
    assert type(first.trials[0].params["n"]) is int
    assert second.trials[0].metrics == {"gap": 0.3, "objective": 0.6}
    assert optimizer.trials == ()
    assert optimizer.best is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.observe({"n": 9}, 1.0), "n: must be within [1, 5], got 9"),
        (lambda o: o.observe({"m": 1}, 1.0), '"m" is not a parameter of the space; known: n'),
        (lambda o: o.observe({"n": 1}, "1"), 'value: must be a number or None, got "1"'),
        (lambda o: o.suggest(0), "n: must be >= 1, got 0"),
        (lambda o: Optimizer(SMALL, direction="up"),
         'direction: must be minimize or maximize, got "up"'),
        (lambda o: Optimizer(SMALL, "tpee"),
         "unknown sampler 'tpee', did you mean 'tpe'?; "
         f"known: {', '.join(sorted({*SAMPLERS, AUTO}))}"),
        (lambda o: Optimizer(SMALL, "grid", xi=1),
         'sampler: unknown key "xi"; known to grid: name, seed, fraction, shuffle'),
        (lambda o: Optimizer(SMALL, direction=["minimize", "up"]),
         'direction: must be minimize or maximize, got "up"'),
        (lambda o: Optimizer(SMALL, direction=[]), "direction: must name at least one, got []"),
        (lambda o: Optimizer(SMALL, constraints=["a <= 1", "a"]),
         "constraints.1: must be an expression of metrics and numbers with + - * / abs(), then <= "
         "or >=, then another, such as val_loss - loss <= 0.01, got 'a'"),
        (lambda o: Optimizer(SMALL, direction=["minimize"] * 2).observe({"n": 1}, 1.0),
         "value: must be 2 numbers or None, got 1.0"),
        (lambda o: Optimizer(SMALL, direction=["minimize"] * 2).observe({"n": 1}, [1.0]),
         "value: must be 2 numbers or None, got [1.0]"),
        (lambda o: Optimizer(SMALL, direction=["minimize"] * 2).observe({"n": 1}, "12"),
         'value: must be numbers or None, got "1"'),
        (lambda o: Optimizer(SMALL, constraints=[GAP]).observe({"n": 1}, 1.0, {"a": 2}),
         'metrics: the constraints name gap, got ["a"]'),
        (lambda o: o.observe({"n": 1}, 1.0, {"gap": "x"}),
         'metrics.gap: must be a number, got "x"'),
        (lambda o: o.observe_rung({"n": 1}, 0, 1.0), "resource: must be a finite number > 0, "
         "got 0.0"),
        (lambda o: o.observe_rung({"n": 1}, 1, math.nan), "value: must be finite, got nan"),
        (lambda o: o.observe_rung({"n": 9}, 1, 1.0), "n: must be within [1, 5], got 9"),
        (lambda o: Optimizer(SMALL, earlier=[([], 1.5)]),
         "earlier: a weight must be within [0, 1], got 1.5"),
        (lambda o: Optimizer({"n": {"type": "int"}}), "space.n.low: is required\n"
         "space.n.high: is required"),
    ],
)  # fmt: skip
def test_misuse_is_refused_and_changes_nothing(call: Any, message: str) -> None:
    optimizer = Optimizer(SMALL)
    with pytest.raises(SpecError) as caught:
        call(optimizer)
    assert str(caught.value) == message
    assert optimizer.trials == ()


class Tensor:
    """A fake of what other libraries call a tensor: no number, but it answers to `item`."""

    shape = ()

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, _: Any) -> Tensor:
        return self

    def item(self) -> Any:
        return self._value


class Row:
    """A fake of a table's row: no Mapping, but it has `keys` and can be asked for each."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def keys(self) -> list[str]:
        return list(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


MIXED: dict[str, Any] = {
    "n": {"type": "int", "low": 1, "high": 9},
    "x": {"type": "float", "low": 0.0, "high": 0.1},
    "s": {"type": "categorical", "choices": ["a", "b"]},
    "b": {"type": "categorical", "choices": [True, False]},
    "o": {"type": "ordinal", "choices": [0.1, 0.2]},
}
PLAIN = {"n": 3, "x": 0.1, "s": "a", "b": True, "o": 0.2}


@pytest.mark.parametrize(
    "params",
    [
        {"n": np.int64(3), "x": np.float64(0.1), "s": np.str_("a"), "b": np.bool_(True)}
        | {"o": np.float64(0.2)},
        # At the upper end, and a choice: what 32 bits hold of 0.1 and 0.2 is a little more.
        {"n": np.uint8(3), "x": np.float32(0.1), "s": "a", "b": True, "o": np.float32(0.2)},
        {"n": np.array(3), "x": np.array(0.1, np.float32), "s": np.array("a")}
        | {"b": np.array(True), "o": np.array([0.2])},
        {"n": Tensor(3), "x": Tensor(0.1), "s": "a", "b": Tensor(True), "o": Tensor(0.2)},
        {"n": Decimal(3), "x": Fraction(1, 10), "s": "a", "b": True, "o": Decimal("0.2")},
        {"n": np.float64(3.0), "x": 0.1, "s": "a", "b": True, "o": 0.2},
        Row(n=np.int64(3), x=np.float64(0.1), s="a", b=np.bool_(True), o=0.2),
    ],
    ids=["numpy", "fewer bits", "arrays", "tensors", "exact", "a row of floats", "a row"],
)
@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.array(0.5), np.array([0.5]), Tensor(0.5), Decimal("0.5")]
)
def test_values_of_libraries_are_the_numbers_in_them(params: Any, value: Any) -> None:
    optimizer = Optimizer(MIXED)
    optimizer.observe(params, value)
    (trial,) = optimizer.trials
    assert (trial.params, trial.value) == (PLAIN, 0.5)
    assert [type(one) for one in trial.params.values()] == [int, float, str, bool, float]
    assert type(trial.value) is float
    assert Optimizer(MIXED, earlier=[([(params, value)] * 8, np.float32(1.0))]).dropped == 0


@given(
    st.integers(1, 9),
    st.sampled_from([np.int8, np.uint16, np.int32, np.int64, np.float32, np.float64, np.array]),
    st.floats(0.0, 0.0625, width=32),
    st.sampled_from([np.float32, np.float64, np.array]),
)
def test_numpy_rows_are_observed_as_plain_ones(n: int, whole: Any, x: float, real: Any) -> None:
    row = {"n": whole(n), "x": real(x)}
    space = {name: MIXED[name] for name in row}
    plain, typed = Optimizer(space), Optimizer(space)
    plain.observe({"n": n, "x": float(str(np.float32(x))) if real is np.float32 else x}, 1.0)
    typed.observe(row, np.float64(1.0))
    assert typed.trials == plain.trials
    assert Optimizer(space, earlier=[([(row, 1.0)], 1.0)]).dropped == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda o: o.observe(PLAIN | {"n": np.array([1, 2])}, 1.0),
            "params.n: must be text, a number, true/false, or a list or mapping of "
            "these, got 'ndarray'",
        ),
        (
            lambda o: o.observe(PLAIN | {"x": np.ma.masked}, 1.0),
            "params.x: must be text, a number, true/false, or a list or mapping of "
            "these, got 'MaskedConstant'",
        ),
        (
            lambda o: o.observe(PLAIN | {"s": np.datetime64("2024-01-01")}, 1.0),
            "params.s: must be text, a number, true/false, or a list or mapping of "
            "these, got 'datetime64'",
        ),
        (lambda o: o.observe([3, 0.1], 1.0), "params: must be a mapping, got [3, 0.1]"),
        (
            lambda o: o.observe(PLAIN, np.array([1.0, 2.0])),
            "value: must be a number or None, got 'ndarray'",
        ),
        (
            lambda o: o.observe(PLAIN, np.complex64(1)),
            "value: must be a number or None, got 'complex64'",
        ),
        (
            lambda o: o.observe(PLAIN, np.ma.masked),
            "value: must be a number or None, got 'MaskedConstant'",
        ),
        (
            lambda o: o.observe(PLAIN, 1.0, {"gap": np.array([1, 2])}),
            "metrics.gap: must be a number, got 'ndarray'",
        ),
        (lambda o: o.observe(PLAIN, 1.0, [1.0]), "metrics: must be a mapping, got [1.0]"),
        (
            lambda o: o.observe_rung(PLAIN, np.array([1, 2]), 1.0),
            "resource: must be a number, got 'ndarray'",
        ),
        (
            lambda _: Optimizer(MIXED, earlier=[([(PLAIN, 1.0), (PLAIN, "1")], 1.0)]),
            'earlier.0.1.value: must be a number or None, got "1"',
        ),
        (
            lambda _: Optimizer(MIXED, earlier=[([(PLAIN | {"n": {3}}, 1.0)], 1.0)]),
            "earlier.0.0.params.n: must be text, a number, true/false, or a list or mapping of "
            "these, got 'set'",
        ),
        (
            lambda _: Optimizer(MIXED, earlier=[([], 1.0), ([(PLAIN,)], 1.0)]),
            "earlier.1.0: must be a configuration, its value and perhaps its metrics, got "
            '[{"n": 3, "x": 0.1, "s": "a", "b": true, "o": 0.2}]',
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(call: Any, message: str) -> None:
    optimizer = Optimizer(MIXED)
    with pytest.raises(SpecError) as caught:
        call(optimizer)
    assert str(caught.value) == message
    assert optimizer.trials == ()


def test_rows_that_are_left_out_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = [(PLAIN | {"n": np.int64(n)}, np.float64(n)) for n in range(8, 12)]
    optimizer = Optimizer(MIXED, earlier=[([*rows, (PLAIN | {"s": "z"}, 1.0)], 1.0)])
    assert optimizer.dropped == 3
    assert caplog.messages == [
        "earlier.0: 3 of 5 observations left out: n: must be within [1, 9] (2); "
        's: must be one of ["a", "b"] (1)'
    ]


def test_constraints_and_spaces_take_values_of_libraries() -> None:
    space = {
        "n": {"type": "int", "low": np.int64(1), "high": np.int64(9)},
        "o": {"type": "ordinal", "choices": 2 ** np.arange(3)},
    }
    optimizer = Optimizer(
        space, "bayesian", seed=np.int64(3), constraints=["gap <= 0.1"], initial=np.int64(2)
    )
    assert len(optimizer.suggest(np.int64(2))) == 2
    optimizer.observe({"n": 2, "o": np.int64(4)}, np.float32(0.5), {"gap": np.float32(0.05)})
    assert optimizer.best == ({"n": 2, "o": 4}, 0.5)
