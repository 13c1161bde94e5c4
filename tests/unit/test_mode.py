"""The rule of `mode: auto`, and that plan and validate tell what it chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.cli import main
from hpo_lib.records import Past
from hpo_lib.registry import SAMPLERS
from hpo_lib.search import engine, mode
from hpo_lib.search.mode import chosen
from hpo_lib.search.suggesting import blind
from hpo_lib.spec import Spec, load
from hpo_lib.spec.json_schema import sections

AGAIN = "in waves the same seed gives the same trials"
KEPT = "waves of 4 would have kept"
CONF: dict[str, Any] = {
    "name": "auto",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "ordinal", "choices": list(range(60))}},
    "sampler": {"name": "tpe"},
    "limits": {"max_trials": 24, "parallel_trials": 4},
    "mode": "auto",
    "trial": {"command": ["true"]},
}


def spec(**changes: Any) -> Spec:
    return load(CONF | changes)


def past(*durations_s: float | None) -> Past:
    """Make an earlier run whose trials took so long."""
    trials = [factories.trial(n, 0.5, duration_s=one) for n, one in enumerate(durations_s, 1)]
    return Past(factories.run(), trials, 60.0)


@pytest.mark.parametrize(
    ("changes", "runs", "expected"),
    [
        # Nobody waits for anybody, or nothing is known.
        ({"limits": {"max_trials": 24}}, [past(1, 9)], "waves (with one trial at a time nobody"),
        ({}, [], f"waves (no earlier run tells how long trials take, and {AGAIN})"),
        ({}, [past(), past(3), past(None, None)], "waves (no earlier run tells how long"),
        ({}, None, f"waves ({AGAIN}, unless trials of earlier runs turn out to differ in length)"),
        # No trial learns from another.
        ({"sampler": {"name": "random"}}, [], "async (sampler random does not learn from results"),
        ({"sampler": {"name": "grid"}}, [], "async (sampler grid does not learn from results: wav"),
        ({"sampler": {"name": "sobol"}}, [past(5, 5)], "async (sampler sobol does not learn"),
        ({"sampler": {"name": "qmc"}}, [], "async (sampler qmc does not learn from results: wave"),
        (
            {"limits": {"max_trials": 9, "parallel_trials": 4}},
            *([], "async (sampler tpe learns after 10 trials, and the run has 9: waves would only"),
        ),
        (
            {"sampler": {"name": "auto"}, "limits": {"max_trials": 4, "parallel_trials": 4}},
            *([], "async (sampler sobol does not learn from results: waves would only wait)"),
        ),
        # By how long the trials of earlier runs took.
        (
            *({}, [past(*[10.0] * 9)]),
            f"waves ({KEPT} 0 % of the places in 1 earlier run waiting, and {AGAIN})",
        ),
        (
            *({}, [past(10, 10, 10, 2, 8, 8), past(10, 10, 10, 10)]),
            f"async ({KEPT} 8 % of the places in 2 earlier runs waiting)",
        ),
        (
            *({}, [past(10, 10, 10, 9, None, 8, 8)]),
            f"waves ({KEPT} 2 % of the places in 1 earlier run waiting, and {AGAIN})",
        ),
    ],
)
def test_the_rule(changes: dict[str, Any], runs: Sequence[Past] | None, expected: str) -> None:
    name, why = chosen(spec(**changes), runs)
    assert f"{name} ({why})".startswith(expected), f"{name} ({why})"


def test_a_scheduler_that_ends_trials_at_different_times_needs_no_barrier() -> None:
    made = spec()
    twice = made.changed(scheduler=made.scheduler.model_copy(update={"name": "my.part:Twice"}))
    assert chosen(twice, []) == (
        "async",
        "scheduler my.part:Twice lets trials end at different times",
    )


def test_a_dag_of_waves_runs_waves() -> None:
    made = spec(sampler={"name": "random"})
    assert chosen(made, [past(1, 9)], in_slots=False) == ("waves", "this DAG runs nothing else")


@pytest.mark.parametrize("asked", ["waves", "async"])
def test_what_the_spec_asks_for_is_what_it_gets(asked: str) -> None:
    assert chosen(spec(mode=asked, sampler={"name": "random"}), [past(1, 9)]) == (asked, None)


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"optuna", "gp"}))
def test_every_sampler_says_whether_it_learns(name: str) -> None:
    asked = spec(sampler={"name": name}, limits={"max_trials": 60, "parallel_trials": 4})
    try:
        engine.check(asked)
    except Exception as error:
        pytest.skip(str(error))
    wanted = "async" if name in {"random", "grid", "sobol", "qmc"} else "waves"
    assert chosen(asked, [])[0] == wanted
    assert (blind(asked) is None) == (wanted == "async")


@given(
    st.lists(st.lists(st.none() | st.floats(0, 1e5), max_size=12), max_size=6),
    st.integers(1, 6),
    st.booleans(),
)
def test_any_past_gives_a_mode_with_a_reason(
    runs: list[list[float | None]], at_once: int, in_slots: bool
) -> None:
    asked = spec(limits={"max_trials": 24, "parallel_trials": at_once})
    found = [past(*run) for run in runs]
    name, why = chosen(asked, found, in_slots=in_slots)
    assert name in (mode.WAVES, mode.ASYNC)
    assert why
    assert chosen(asked, found, in_slots=in_slots) == (name, why), "it is a rule"
    if at_once == 1 or not in_slots:
        assert name == mode.WAVES


def test_it_goes_through_yaml_json_and_the_schema() -> None:
    made = spec()
    assert load(json.loads(json.dumps(made.dump()))) == made
    assert made.dump()["mode"] == "auto"
    assert sections()["mode"]["enum"] == ["waves", "async", "auto"]


@pytest.mark.parametrize(
    ("sampler", "name", "why"),
    [
        ("random", "async", "sampler random does not learn from results: waves would only wait"),
        ("tpe", "waves", f"{AGAIN}, unless trials of earlier runs turn out to differ in length"),
    ],
)
def test_plan_and_validate_tell_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sampler: str, name: str, why: str
) -> None:
    path = tmp_path / "auto.yaml"
    path.write_text(json.dumps(CONF | {"sampler": {"name": sampler}}))
    assert main.main(["validate", str(path)]) == 0
    assert f"auto.yaml: ok (mode auto: {name}, {why})" in capsys.readouterr().out
    assert main.main(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"\nmode         auto: {name} ({why})\n" in out
    trials = (
        "24 in 6 waves, 4 at once" if name == "waves" else "24, 4 at once, the next one as soon"
    )
    assert f"\ntrials       {trials}" in out
    main.main(["plan", str(path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["mode"], facts["mode_chosen_because"]) == (name, why)
    path.write_text(json.dumps(CONF | {"mode": "async"}))
    main.main(["plan", str(path), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["mode"], facts["mode_chosen_because"]) == ("async", None)
