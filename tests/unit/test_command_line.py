"""The command line of a trial: what a plan shows of it is what the trial gets."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.cli import plan
from hpo_lib.core.trial import Trial
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import invocation
from hpo_lib.spec.placeholders import FACTS

#: Small letters alone: what a plan has in capitals stands for what only a run knows.
_TEXT = st.text("abcdefgh -=/", min_size=1, max_size=6)
_NAMES = ("params.x", "params.n", "params.inactive", "params.epochs", *FACTS)
_WORDS = st.lists(
    st.lists(_TEXT | st.sampled_from([f"${{{name}}}" for name in _NAMES]), min_size=1, max_size=3),
    max_size=4,
).map(lambda words: ["".join(parts) for parts in words])


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    trial: dict[str, Any] = {"command": ["python", *draw(_WORDS)]}
    if draw(st.booleans()):
        trial = {"backend": "docker", "image": "i", "args": draw(_WORDS)}
    elif draw(st.booleans()):
        trial |= {"args": draw(_WORDS)}
    return load(
        {
            "name": "wine",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {
                "n": {"type": "int", "low": 1, "high": 9},
                "x": {"type": "float", "low": 0.0, "high": draw(st.floats(0.5, 9.0))},
                "c": {"type": "categorical", "choices": ["a"]},
                "inactive": {"type": "ordinal", "choices": [1, 2], "when": {"n": [9]}},
            },
            "fixed": draw(st.sampled_from([{"epochs": 3}, {"epochs": True}])),
            "sampler": {"name": "random", "seed": draw(st.integers(0, 2**32 - 1))},
            "trial": trial,
        }
    )


@given(specs(), st.integers(1, 10**6))
def test_a_plan_shows_the_words_of_the_trial(spec: Spec, run: int) -> None:
    facts = plan._facts(spec, 1)
    trial = Trial(1, facts["suggestions"][0]["params"])
    made = invocation(spec, trial, run=run, attempt=1, output="/runs/output")
    known = {"RUN": str(run), "SEED": made.env["HPO_SEED"], "OUTPUT": "/runs/output"}
    shown = facts["command"]
    for placeholder, value in known.items():
        shown = [word.replace(placeholder, value) for word in shown]
    assert shown == [*made.command, *made.args]


def test_a_plan_shows_a_word_with_the_phase_and_what_only_a_run_knows() -> None:
    command = ["t", "${phase}", "${run}", "${seed}", "${output}/m", "${experiment}"]
    spec = load(
        {
            "name": "wine",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {"n": {"type": "int", "low": 1, "high": 2}},
            "limits": {"max_trials": 1},
            "initial_points": [{"n": 1}],
            "trial": {"command": command},
        }
    )
    shown = plan._facts(spec, 1)["command"]
    assert shown == ["t", "search", "RUN", "SEED", "OUTPUT/m", "wine", "--n=1"]
