"""The spec: what is refused, in which words, and that YAML gives back what it was given."""

from __future__ import annotations

import copy
import re
import time
from pathlib import Path
from typing import Any

import factories
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.core.trial import Direction
from hpo_lib.errors import SpecError
from hpo_lib.registry import AUTO, COLLECTORS, SAMPLERS, TAKE_EARLIER
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import arguments
from hpo_lib.spec.draft import draft
from hpo_lib.spec.outline import Outline
from hpo_lib.spec.placeholders import filled
from hpo_lib.spec.yaml_file import from_yaml, to_yaml

GOOD: dict[str, Any] = {
    "name": "wine-quality",
    "objective": {"metric": "val_auc", "direction": "maximize"},
    "space": {
        "lr": {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": ["sgd"]}},
    },
    "fixed": {"epochs": 5},
    "trial": {"command": ["python", "train.py"]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Copy the good spec with one place set."""
    spec = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    place = spec
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return spec


LOSS = {"metric": "loss", "direction": "minimize"}
SIZE = {"metric": "size", "direction": "minimize"}
_COLLECTORS = ", ".join(sorted(COLLECTORS))
_SAMPLERS = ", ".join(sorted({*SAMPLERS, AUTO}))
_KEYS = ", ".join(field.alias or name for name, field in Spec.model_fields.items())
_RULE = (
    "must be an expression of metrics and numbers with + - * / abs(), then <= or >=, then another, "
    "such as val_loss - loss <= 0.01"
)
_NAME_RULE = "must be lower-case letters, digits and -, at most 63, not beginning or ending with -"
_LATER = "is not supported yet; leave it out"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        # Unknown keys, with the nearest.
        (
            "objectve",
            {},
            'spec: unknown key "objectve", did you mean \'objective\'?; known: name, description, '
            "objective, constraints, extra_metrics, space, fixed, initial_points, sampler, "
            "scheduler, limits, mode, trial, metrics, artifacts, warm_start, reuse, final, "
            "deploy, schedule, airflow",
        ),
        (
            "limits/max_trails",
            5,
            'limits: unknown key "max_trails", did you mean \'max_trials\'?; known: max_trials, '
            "parallel_trials, max_failed_trials, max_duration, patience, max_cost_usd",
        ),
        (
            "space/lr/lo",
            5,
            "space.lr: unknown key \"lo\", did you mean 'low'?; known: when, distribution, "
            "mu, sigma, type, low, high, scale, step",
        ),
        # Wrong types.
        ("limits/max_trials", "5", 'limits.max_trials: must be a whole number, got "5"'),
        ("limits/max_trials", True, "limits.max_trials: must be a whole number, got true"),
        ("space/lr/low", "1e-5", 'space.lr.low: must be a number, got "1e-5"'),
        ("space/lr", 5, "space.lr: must be a mapping, got 5"),
        ("space/lr", {}, "space.lr: must have a type, got {}"),
        (
            "space/lr",
            {"type": "flaot"},
            "space.lr: type must be one of float, int, categorical, ordinal, list, got "
            "\"flaot\", did you mean 'float'?",
        ),
        (
            "trial/command",
            "python",
            'trial.command: must be a list of words, such as [python], got "python"',
        ),
        ("objective/metric", 5, "objective.metric: must be text, got 5"),
        ("trial", {}, "trial.command: is required where there is no image"),
        # Values.
        ("space/lr/low", 0.5, "space.lr: low must be < high, got low=0.5, high=0.1"),
        ("space/lr/low", float("nan"), "space.lr.low: must be a finite number, got NaN"),
        ("objective/target", 1e999, "objective.target: must be a finite number, got Infinity"),
        (
            "space/optimizer/choices",
            [],
            "space.optimizer.choices: choices must hold at least one value, got []",
        ),
        (
            "space/optimizer/choices",
            [["adam", float("nan")]],
            "space.optimizer.choices.0: must be plain JSON with finite numbers, got "
            '["adam", NaN]\nspace.optimizer.choices.0.1: must be a finite number, got NaN',
        ),
        ("objective/direction", "u", 'objective.direction: must be minimize or maximize, got "u"'),
        # Several objectives, and constraints.
        (
            "objectives",
            [LOSS],
            'spec: unknown key "objectives", did you mean \'objective\'?; known: ' + _KEYS,
        ),
        ("objective", "loss", 'objective: must be a mapping or a list of them, got "loss"'),
        ("objective", [], "objective: must be 1 to 5 objectives, got 0"),
        ("objective", [LOSS] * 6, "objective: must be 1 to 5 objectives, got 6"),
        ("objective", [LOSS, {"metric": "size"}], "objective.1.direction: is required"),
        ("objective", [LOSS, 5], "objective.1: must be a mapping, got 5"),
        (
            "objective",
            [LOSS, SIZE, LOSS | {"reduce": "best"}],
            "objective.2.metric: is the same as objective.0: loss",
        ),
        ("constraints", "loss <= 1", 'constraints: must be a list, got "loss <= 1"'),
        ("constraints", ["loss <= 1"] * 11, "constraints: must be at most 10, got 11"),
        ("constraints", ["loss <= 1", 5], "constraints.1: must be text, got 5"),
        ("constraints", ["loss"], f"constraints.0: {_RULE}, got 'loss'"),
        ("constraints", ["1 <= 2"], f"constraints.0: {_RULE}; it names no metric: '1 <= 2'"),
        (
            "constraints",
            ["'a ' <= 2"],
            "constraints.0: a metric must be 1 to 128 printable characters, no number, and have no "
            'blank at either end, got "a "',
        ),
        ("limits/max_trials", 0, "limits.max_trials: must be greater than or equal to 1, got 0"),
        (
            "limits/max_duration",
            "6 hours",
            'limits.max_duration: must be a duration such as 90s, 30m, 6h or 1d, got "6 hours"',
        ),
        ("trial/timeout", "400d", 'trial.timeout: must be at most 366d, got "400d"'),
        (
            "trial/stalled_after",
            600,
            "trial.stalled_after: must be a duration such as 90s, 30m, 6h or 1d, got 600",
        ),
        ("trial/stop_grace", "61s", 'trial.stop_grace: must be at most 60s, got "61s"'),
        (
            "sampler/name",
            "bayesain",
            "sampler.name: unknown sampler 'bayesain', did you mean 'bayesian'?; "
            f"known: {_SAMPLERS}",
        ),
        ("fixed/lr", 1, "fixed.lr: must not also be in the space"),
        # Names that could mean something to a path, a template or a page.
        ("name", "../x", f'name: {_NAME_RULE}, got "../x"'),
        ("name", "{{ x }}", f'name: {_NAME_RULE}, got "{{{{ x }}}}"'),
        ("name", "<b>", f'name: {_NAME_RULE}, got "<b>"'),
        ("name", "wine\n", f'name: {_NAME_RULE}, got "wine\\n"'),
        (
            "space/{{ x }}",
            GOOD["space"]["lr"],
            "space: a name must be a letter and then letters, digits, _ or - (at most 64), "
            'got "{{ x }}"',
        ),
        # Initial points and placeholders.
        (
            "trial/options",
            {"resource": {"spec": [{"image": "a"}, {"args": ["--lr=${params.rl}"]}]}},
            "trial.options.resource.spec.1.args.0: unknown placeholder ${params.rl}, "
            "did you mean 'params.lr'?; known: "
            "params.lr, params.optimizer, params.momentum, params.epochs, experiment, run, "
            "trial.number, attempt, seed, phase, output, resource, resume_from",
        ),
        (
            "initial_points",
            [{"lr": 1.0, "optimizer": "adam"}],
            "initial_points.0: lr: must be within [1e-05, 0.1], got 1.0",
        ),
        (
            "initial_points",
            [{"lr": 0.01, "optimizer": "adam"}, {"lr": 0.01, "optimizer": "adam", "momentum": 0.1}],
            "initial_points.1: is the same as initial_points.0",
        ),
        (
            "trial/args",
            ["${params.rl}"],
            "trial.args.0: unknown placeholder ${params.rl}, did you mean 'params.lr'?; known: "
            "params.lr, params.optimizer, params.momentum, params.epochs, experiment, run, "
            "trial.number, attempt, seed, phase, output, resource, resume_from",
        ),
        (
            "trial/env",
            {"MY_TOKEN": "x"},
            "trial.env: MY_TOKEN looks like a secret, which a spec must not hold; let the trial "
            "read it from a file or from the worker's own credentials",
        ),
        ("metrics/format", "(", 'metrics.format: must be a regular expression, got "(": missing ), '
         "unterminated subpattern at position 0"),
        ("metrics", {"collector": "jsonl", "path": "../x"},
         'metrics.path: must be a relative path without .., got "../x"'),
        ("metrics/format", "a{9999999999}",
         'metrics.format: must be a regular expression, got "a{9999999999}": '
         "the repetition number is too large"),
        ("metrics", {"collector": "jsonl", "format": "(?P<name>.)=(?P<value>.)"},
         "metrics: format belongs to file, stdout, got collector=jsonl"),
        ("metrics", {"collector": "stdout", "path": "x"},
         "metrics: path belongs to file, jsonl, tfevents, got collector=stdout"),
        ("metrics", {"collector": "xcom", "path": "x"},
         "metrics: path belongs to file, jsonl, tfevents, got collector=xcom"),
        ("warm_start", [], "warm_start: must be a mapping, got []"),
        ("warm_start/form", ["a"], 'warm_start: unknown key "form", did you mean \'from\'?; '
         "known: from, top, weight, half_life, runs"),
        ("warm_start/from", [], "warm_start.from: must not be empty, got []"),
        ("warm_start/from", ["Wine"], f'warm_start.from: {_NAME_RULE}, got "Wine"'),
        ("warm_start/from", ["a", "a"],
         'warm_start.from: must not name an experiment twice, got ["a", "a"]'),
        ("warm_start/from", list("abcdefghijk"),
         "warm_start.from: must name at most 10 experiments, got 11"),
        ("warm_start/top", 0, "warm_start.top: must be greater than or equal to 1, got 0"),
        ("warm_start/top", 201, "warm_start.top: must be less than or equal to 200, got 201"),
        ("warm_start/weight", 0, "warm_start.weight: must be greater than 0, got 0"),
        ("warm_start/weight", 1.5, "warm_start.weight: must be less than or equal to 1, got 1.5"),
        ("warm_start/half_life", "7", "warm_start.half_life: must be a duration such as 90s, 30m, "
         '6h or 1d, got "7"'),
        ("warm_start/runs", 21, "warm_start.runs: must be less than or equal to 20, got 21"),
        # Not supported yet, in so many words.
        ("limits/max_cost_usd", 20, f"limits.max_cost_usd: {_LATER} (got 20)"),
        ("trial/source", {}, f"trial.source: {_LATER} (got {{}})"),
        ("trial/notebook", "x", f'trial.notebook: {_LATER} (got "x")'),
        ("artifacts", {}, "artifacts.uri: is required"),
        ("final", {"seeds": 0}, "final.seeds: must be greater than or equal to 1, got 0"),
        ("final", {"trial": {"image": "-"}},
         'final.trial.image: must be an image such as registry/name:tag, got "-"'),
        ("final", {"trial": {"command": None}},
         "final.trial.command: is required where there is no image"),
        ("final", {"trial": {"backend": "dockr"}},
         "final.trial.backend: unknown backend 'dockr', did you mean 'docker'?; "
         "known: docker, ecs, job, kubernetes, local"),
        ("deploy", {"to": "package"},
         "final.seeds: must be >= 2 with deploy, to know how sure scores are, got no final"),
        ("deploy", {"to": "pakage"},
         "deploy.to: unknown deployer 'pakage', did you mean 'package'?; "
         "known: kubernetes, mlflow, package, sagemaker"),
        ("mode", "asink", 'mode: must be waves, async or auto, got "asink"'),
        (
            "scheduler/name",
            "ashaa",
            "scheduler.name: unknown scheduler 'ashaa', did you mean 'asha'?; known: asha, auto, "
            "fifo, hyperband, median, pbt, screen, successive_halving",
        ),
        (
            "trial/backend",
            "esc",
            "trial.backend: unknown backend 'esc', did you mean 'ecs'?; "
            "known: docker, ecs, job, kubernetes, local",
        ),
        (
            "metrics/collector",
            "my.module:Collector",
            "metrics.collector: collector 'my.module:Collector' is not allowed in this "
            f"installation; its operator can add my.module to HPO_COLLECTORS; known: {_COLLECTORS}",
        ),
    ],
)  # fmt: skip
def test_a_wrong_conf_is_refused_with_path_rule_and_value(
    path: str, value: Any, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load(changed(path, value))
    assert str(caught.value) == message


def test_every_problem_gets_its_line() -> None:
    spec = changed("limits/max_trials", 0) | {"name": "X"}
    with pytest.raises(SpecError) as caught:
        load(spec)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "name",
        "limits.max_trials",
    ]


#: By what is wrong: the conf, and how the lines begin that tell of it.
SEVERAL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown keys beside a wrong value": (
        changed("limits", {"max_trails": 5, "patience": 0, "bogus": 1}),
        ['limits: unknown key "max_trails"', 'limits: unknown key "bogus"', "limits.patience: "],
    ),
    "an unknown key beside what does not fit together": (
        changed("metrics", {"collector": "jsonl", "format": "(?P<name>.)(?P<value>.)", "paht": 1}),
        ['metrics: unknown key "paht"', "metrics.path: must be text", "metrics: format belongs to"],
    ),
    "a key whose nearest is another, and no slip": (
        changed("trial", {"command": ["train"], "retries": 3, "resorces": 4}),
        ['trial: unknown key "retries"', 'trial: unknown key "resorces"', "trial.resources: must"],
    ),
    "what stands below misspelt keys": (
        {("limtis" if name == "limits" else name): one for name, one in GOOD.items()}
        | {"limtis": {"max_trials": 0, "paralel_trials": 0}, "sampelr": {"name": "tpee"}},
        [
            'spec: unknown key "limtis"',
            'limits: unknown key "paralel_trials"',
            "limits.max_trials: ",
            "limits.parallel_trials: ",
            'spec: unknown key "sampelr"',
            "sampler.name: unknown sampler 'tpee'",
        ],
    ),
    "a range": (
        changed("space/lr", {"type": "float", "low": -1.0, "high": -2.0, "scale": "log"}),
        ["space.lr: low must be < high", "space.lr: low must be > 0 on a log scale"],
    ),
    "names and conditions of a space": (
        changed("space/a b", {"type": "int", "low": 0, "high": 1, "when": {"x": [1], "lr": [0.1]}}),
        ["space: a name must", "space.a b.when: unknown parameter", "space.a b.when: lr must have"],
    ),
    "points, each with all that is wrong with it": (
        changed("initial_points", [{"lr": 5.0, "optimizer": "x", "y": 1}, {"optimizer": "adam"}]),
        [
            'initial_points.0: "y" is not a parameter',
            "initial_points.0: lr: must be within",
            "initial_points.0: optimizer: must be one of",
            "initial_points.1: lr: is required",
        ],
    ),
    "sections that are broken beside some that do not fit together": (
        changed("space/lr/low", 5.0)
        | {"fixed": {"lr": 1}, "objective": [LOSS, LOSS], "warm_start": {"top": 0}}
        | {"trial": {"args": ["${params.rl}", "${x}"], "timeout": "x"}},
        [
            "space.lr: low must be",
            "trial.timeout: ",
            "warm_start.top: ",
            "fixed.lr: must not also be in the space",
            "objective.1.metric: is the same as objective.0",
            "trial.command: is required",
            "trial.args.0: unknown placeholder ${params.rl}, did you mean 'params.lr'?",
            "trial.args.1: unknown placeholder ${x}",
        ],
    ),
    "variables and metrics": (
        changed("trial/env", {"MY_TOKEN": "x", "HPO_X": "y", "é": "z"})
        | {"extra_metrics": ["1", "ok", "2"]},
        ["extra_metrics: ", "extra_metrics: ", *["trial.env: "] * 3],
    ),
    "a final training whose trial and seeds are wrong": (
        changed("final", {"seeds": 1, "trial": {"timeout": "x", "image": "-", "args": ["${y}"]}})
        | {"deploy": {"to": "package", "metric": "auc"}},
        ["final.trial.image: ", "final.trial.timeout: ", "final.seeds: ", "deploy.direction: "],
    ),
    "a guard": (
        GOOD | {"deploy": {"to": "pakage", "guards": [{"metric": "1", "bogus": 2}]}},
        [
            "deploy.to: ",
            'deploy.guards.0: unknown key "bogus"',
            "deploy.guards.0.metric: ",
            "deploy.guards.0: needs at_most",
        ],
    ),
    "what is required and not there": (
        {"name": "x", "fixed": {"a b": 1}, "limits": 5},
        ["objective: is required", "space: is required", "limits: ", "trial: ", "fixed: a name"],
    ),
    "nothing that only follows": (
        changed("metrics", {"collector": "jsnol", "path": "x"}) | {"schedule": {"cron": "x"}},
        ["metrics.collector: unknown collector", "schedule.cron: must be five fields"],
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_no_problem_hides_another(case: str) -> None:
    conf, beginnings = SEVERAL[case]
    with pytest.raises(SpecError) as caught:
        load(conf)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(beginnings), lines
    for line, beginning in zip(sorted(lines), sorted(beginnings), strict=True):
        assert line.startswith(beginning)


def test_a_conf_of_many_mistakes_makes_no_flood() -> None:
    space = {f"p{i}": {"type": "int", "low": 0, "high": 1} for i in range(150)}
    points = [{f"q{i}": 1} for i in range(5_000)]
    conf = GOOD | {"space": space, "initial_points": points} | {f"k{i}": 1 for i in range(5_000)}
    with pytest.raises(SpecError) as caught:
        load(conf)
    assert len(str(caught.value).splitlines()) == 41


def test_repeated_keys_hide_nothing_else() -> None:
    with pytest.raises(SpecError) as caught:
        from_yaml("name: X\nname: Y\nlimits: {patience: 0, patience: 0}\n")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        *("spec", "spec", "name", "objective", "space", "limits.patience", "trial"),
    ]


_KEYS_OF = st.sampled_from([*(field.alias or n for n, field in Spec.model_fields.items()), "bogus"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 99) | st.sampled_from(["x", "1h", "local", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["lr", "name", "type", "seeds", "trial", "backend", "to", "timeout", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS_OF, _ANYTHING, max_size=8))
def test_whatever_is_wrong_with_a_conf_all_sound_sections_of_it_are_read(
    changes: dict[str, Any],
) -> None:
    made = draft(GOOD | changes)
    assert made.broken == set() or made.problems
    engine.problems(made)
    sound = {name for name in GOOD if made.sound(name)}
    dumped, expected = made.spec.dump(), load(GOOD).dump()
    assert all(dumped[name] == expected[name] for name in sound - changes.keys())


@pytest.mark.parametrize("data", [None, [], "name", 5])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(SpecError, match=r"^spec: must be a mapping, got "):
        load(data)


def test_ten_megabytes_are_refused_quickly() -> None:
    started = time.monotonic()
    with pytest.raises(SpecError, match=r"^spec: must be at most 262,144 bytes"):
        load(changed("description", "x" * 10_000_000))
    with pytest.raises(SpecError, match=r"^spec: must be at most 262,144 bytes"):
        from_yaml("x" * 10_000_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A bomb of aliases, a repeated key, what is not YAML, what is not plain data.
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "spec: must be YAML: aliases are not allowed (line 2)"),
        ("name: x\nname: y\n", 'spec: must be YAML: key "name" is repeated (line 2)'),
        ("name: [\n", "spec: must be YAML: "),
        ("!!python/object/apply:os.system [x]", "spec: must be YAML: "),
        ("[" * 100_000, "spec: must be nested at most 64 deep, got more (line 1)"),
        ("a: b\n" * 20_000, "spec: must hold at most 20,000 values, got more (line 10000)"),
        ("2020-01-01", 'spec: must be a mapping, got "2020-01-01"'),
        ("", "spec: must be a mapping, got null"),
    ],
)
def test_text_that_is_no_spec_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_yaml(text)
    assert str(caught.value).startswith(message)


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^description: must be plain JSON, got text with half"):
        load(changed("description", "\ud800"))


def test_a_number_with_an_exponent_is_a_number_in_yaml() -> None:
    spec = from_yaml(to_yaml(load(GOOD)).replace("1.0e-05", "1e-5"))
    assert spec.space["lr"].low == 1e-5


_WORDS = st.text("abcdefgh: #{}[]'\"é%\\-", min_size=1, max_size=12)
_NUMBERS = st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9, allow_nan=False)


@st.composite
def confs(draw: st.DrawFn) -> dict[str, Any]:
    choices = draw(st.lists(_WORDS, min_size=1, max_size=4, unique=True))
    low = draw(st.floats(1e-9, 1.0))
    space = {
        "x": {"type": "float", "low": low, "high": low * 7, "scale": "log"},
        "n": {"type": "int", "low": draw(st.integers(-9, 0)), "high": draw(st.integers(1, 9))},
        "c": {"type": "categorical", "choices": choices},
        "o": {"type": "ordinal", "choices": [1, 2.5], "when": {"c": choices[:1]}},
    }
    return {
        **GOOD,
        "description": draw(_WORDS),
        "space": space,
        "fixed": draw(
            st.dictionaries(st.sampled_from(["a", "b"]), _WORDS | _NUMBERS | st.booleans())
        ),
        "trial": {"command": ["python", *draw(st.lists(_WORDS, max_size=3))]},
        "limits": {"max_duration": draw(st.sampled_from(["90s", "1.5h", "7d"]))},
    }


@given(confs())
def test_a_spec_comes_back_from_yaml(conf: dict[str, Any]) -> None:
    spec = load(conf)
    again = from_yaml(to_yaml(spec))
    assert again.dump() == spec.dump()
    assert again.digest == spec.digest
    assert load(spec.dump()).dump() == spec.dump()


def test_a_spec_and_its_settings_survive_the_dump() -> None:
    spec = load(changed("sampler", {"name": "bayesian", "initial": 7}))
    assert load(spec.dump()).sampler.settings == {"initial": 7}


def _line(spec: Spec, params: dict[str, Any]) -> list[str]:
    return arguments(spec, params, {"trial.number": 3, "resource": None})


def test_parameters_become_flags_unless_the_command_names_them() -> None:
    params = {"epochs": 5, "lr": 0.001, "on": True}
    command = ["python", "train.py", "--epochs=5", "--lr=0.001", "--on=true"]
    assert _line(load(GOOD), params) == command
    named = load(changed("trial/command", ["t", "${trial.number}", "-l${params.lr}"]))
    assert _line(named, params) == ["t", "3", "-l0.001"]


def test_an_argument_that_names_an_inactive_parameter_is_left_out() -> None:
    spec = load(changed("trial/args", ["-m=${params.momentum}", "-l=${params.lr}"]))
    assert _line(spec, {"lr": 0.1, "epochs": 1}) == ["python", "train.py", "-l=0.1"]


def test_options_get_the_values_of_a_trial() -> None:
    options = {
        "spec": {
            "workers": "${params.epochs}",
            "args": ["--lr=${params.lr}", "-m=${params.momentum}", "${trial.number}", "$HOME"],
            "momentum": "${params.momentum}",
            "plain": [None, True, 1.5, ""],
        },
        "momentum": "${params.momentum}",
    }
    spec = load(changed("trial/options", options))
    assert filled(spec.trial.options, {"lr": 0.1, "epochs": 3}, {"trial.number": 7}) == {
        "spec": {"workers": 3, "args": ["--lr=0.1", 7, "$HOME"], "plain": [None, True, 1.5, ""]}
    }
    assert spec.trial.options == options, "the spec itself stays as it is"


_KEYS = st.text(max_size=3).filter(str.isprintable)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text().filter(lambda text: "${" not in text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=10,
)


@given(st.dictionaries(_KEYS, _PLAIN, max_size=3))
def test_options_without_placeholders_stay_as_they_are(options: dict[str, Any]) -> None:
    assert filled(load(changed("trial/options", options)).trial.options, {"lr": 0.1}, {}) == options


def test_tokenizers_are_no_secret() -> None:
    assert load(changed("trial/env", {"TOKENIZERS_PARALLELISM": "false"})).trial.env


#: Digests of specs as they were before there were several objectives and constraints.
_BEFORE = [
    (changed("sampler", {"name": "bayesian"}), "3af74bb54ed003f2c59642b6f7704192"),
    (factories.SPEC, "8b1448dc4d1a42059556e7a7d9feaae2"),
]


@pytest.mark.parametrize(("conf", "digest"), _BEFORE)
def test_a_spec_of_one_objective_has_kept_its_digest(conf: dict[str, Any], digest: str) -> None:
    assert load(conf).digest == digest
    assert load(conf | {"objective": [conf["objective"]], "constraints": []}).digest == digest
    assert isinstance(load(conf | {"objective": [conf["objective"]]}).dump()["objective"], dict)


def test_the_first_of_several_objectives_leads() -> None:
    size = {"metric": "size", "direction": "minimize", "target": 3.0, "reduce": "best"}
    spec = load(GOOD | {"objective": [GOOD["objective"], size]})
    assert spec.objective is spec.objectives[0]
    assert spec.objective.metric == "val_auc"
    assert (spec.objectives[1].target, spec.objectives[1].reduce) == (3.0, "best")
    assert spec.goal.objectives == (
        ("val_auc", Direction.MAXIMIZE),
        ("size", Direction.MINIMIZE),
    )


def test_objectives_and_constraints_come_back_from_yaml_and_the_store() -> None:
    size = {"metric": "size", "direction": "minimize"}
    spec = load(
        GOOD
        | {
            "objective": [GOOD["objective"], size],
            "constraints": ["val_loss  - loss\n<= 0.01", '"val/f1" >= .5', "size / 2 <= 3"],
        }
    )
    assert spec.constraints == ("val_loss - loss <= 0.01", '"val/f1" >= .5', "size / 2 <= 3")
    assert spec.goal.metrics == ["val_auc", "size", "loss", "val_loss", "val/f1"]
    again = from_yaml(to_yaml(spec))
    assert (again.digest, again.goal) == (spec.digest, spec.goal)
    assert Outline.of(spec.dump()).goal == spec.goal


def test_a_spec_that_names_no_sampler_leaves_the_choice_open() -> None:
    assert load(GOOD).sampler.name == AUTO


def test_the_specs_that_the_readme_shows_are_right() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:json|yaml)\n(.*?)```", text, flags=re.DOTALL)
    specs = [from_yaml(block) for block in blocks if "objective" in block]
    assert {spec.trial.backend for spec in specs} >= {"local", "kubernetes", "ecs"}


def test_a_warm_start_is_by_the_runs_of_the_experiment_itself_unless_it_says_so() -> None:
    assert load(GOOD).advised_by == ()
    own = load(GOOD | {"warm_start": {}})
    assert own.advised_by == ("wine-quality",)
    assert own.dump()["warm_start"] == {"top": 10, "weight": 1.0, "half_life": "7d", "runs": 5}
    other = load(GOOD | {"warm_start": {"from": ["a", "b"], "half_life": "12h"}})
    assert other.advised_by == ("a", "b")
    assert other.warm_start is not None
    assert other.warm_start.half_life_s == 12 * 3600
    assert load(other.dump()) == from_yaml(to_yaml(other)) == other


def test_a_spec_without_warm_start_has_kept_its_digest() -> None:
    assert "warm_start" not in load(GOOD).dump()


@pytest.mark.parametrize("sampler", sorted({AUTO, *SAMPLERS}))
def test_only_a_sampler_that_takes_earlier_runs_can_be_warm_started(sampler: str) -> None:
    conf = GOOD | {"warm_start": {}, "sampler": {"name": sampler}}
    if sampler in (AUTO, *TAKE_EARLIER):
        assert load(conf).sampler.name == sampler
        return
    said = f"warm_start: sampler {sampler} takes no earlier runs; use auto or bayesian"
    with pytest.raises(SpecError, match=said):
        load(conf)
