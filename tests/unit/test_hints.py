"""What an error hints at: the key that is meant, where it belongs, and whose file this is."""

from __future__ import annotations

import ast
import copy
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from hpo_lib.core.objective import Goal
from hpo_lib.core.ranges import IntParameter
from hpo_lib.core.space import Parameter, Space
from hpo_lib.core.trial import Direction, Trial
from hpo_lib.errors import _CALLED, SpecError, nearest
from hpo_lib.registry import BACKENDS, DEPLOYERS, SAMPLERS
from hpo_lib.samplers.auto import CHOICES, choose
from hpo_lib.search import engine
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import preview
from hpo_lib.spec.draft import draft
from hpo_lib.spec.foreign import EXAMPLE, TOOLS
from hpo_lib.spec.hints import _PLACES
from hpo_lib.spec.shell import _split, listed

GOOD: dict[str, Any] = {
    "name": "wine",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"lr": {"type": "float", "low": 0.1, "high": 1.0}},
    "trial": {"command": ["python", "train.py"], "resources": {"cpu": 1}},
    "limits": {"max_trials": 4},
}


def told(conf: Mapping[str, Any]) -> list[str]:
    """Give all that is wrong with a conf."""
    try:
        made = draft(conf)
    except SpecError as error:
        return [str(error)]
    return [*made.problems, *engine.problems(made)]


def with_(section: str, **keys: Any) -> dict[str, Any]:
    """Copy the good conf with keys of a section replaced or added."""
    conf = copy.deepcopy(GOOD)
    place = conf
    for part in filter(None, section.split(".")):
        place = place.setdefault(part, {})
    place.update(keys)
    return conf


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        # Other tools' words for what is here.
        ("", "algorithm", "did you mean 'sampler'?"),
        ("", "algo", "did you mean 'sampler'?"),
        ("", "parameters", "did you mean 'space'?"),
        ("", "search_space", "did you mean 'space'?"),
        ("", "params", "did you mean 'space'?"),
        ("", "hyperparameters", "did you mean 'space'?"),
        ("", "param-space", "did you mean 'space'?"),
        ("objective", "goal", "did you mean 'direction' (or target, if it is a number)?"),
        ("objective", "mode", "did you mean 'direction'?"),
        ("objective", "type", "did you mean 'direction'?"),
        ("objective", "objectiveMetricName", "did you mean 'metric'?"),
        ("limits", "n_trials", "did you mean 'max_trials'?"),
        ("limits", "maxTrialCount", "did you mean 'max_trials'?"),
        ("limits", "max_evals", "did you mean 'max_trials'?"),
        ("limits", "parallelTrialCount", "did you mean 'parallel_trials'?"),
        ("limits", "n_jobs", "did you mean 'parallel_trials'?"),
        ("limits", "maxFailedTrialCount", "did you mean 'max_failed_trials'?"),
        ("limits", "timeout", "did you mean 'max_duration'?"),
        ("space.lr", "min", "did you mean 'low'?"),
        ("space.lr", "max", "did you mean 'high'?"),
        ("space.lr", "log", "did you mean 'scale' (scale: log)?"),
        ("space.lr", "q", "did you mean 'step'?"),
        ("space.lr", "step_size", "did you mean 'step'?"),
        ("space.lr", "feasibleSpace", "did you mean 'low' (with high beside it, or choices)?"),
        ("trial", "program", "did you mean 'command'?"),
        ("trial.resources", "limits", "did you mean 'memory' (with cpu and gpu beside it)?"),
        ("trial.resources", "GPU", "did you mean 'gpu'?"),
        ("sampler", "algorithmName", "did you mean 'name'?"),
        # Keys at the wrong level, also by their other names.
        ("", "max_trials", "which belongs in limits, as max_trials"),
        ("", "maxTrialCount", "which belongs in limits, as max_trials"),
        ("", "num_samples", "which belongs in limits, as max_trials"),
        ("", "max_concurrent", "which belongs in limits, as parallel_trials"),
        ("", "limits.max_trials", "which belongs in limits, as max_trials"),
        ("", "image", "which belongs in trial, as image"),
        ("", "seed", "which belongs in sampler, as seed"),
        ("", "gpus", "which belongs in trial.resources, as gpu"),
        ("", "timeout", "which belongs in trial, as timeout (of one trial; the run's is limits."),
        ("", "metric", "which belongs in objective, as metric"),
        ("", "cron", "which belongs in schedule, as cron"),
        ("trial", "fixed", "which belongs at the top, as fixed"),
        ("trial", "retries", "which is no setting: its cause decides if it is tried again"),
        ("limits", "max_retries", "which is no setting: its cause decides if it is tried again"),
        ("trial", "attempts", "which is no setting: its cause decides if it is tried again"),
        ("trial", "gpu", "which belongs in trial.resources, as gpu"),
        ("sampler", "max_trials", "which belongs in limits, as max_trials"),
        ("space.lr", "default", "which belongs at the top, as initial_points"),
        ("trial", "type", "did you mean 'backend'?"),
        # Neither, so the nearest.
        ("", "objectve", "did you mean 'objective'?"),
    ],
)
def test_a_key_that_is_not_known_says_which_is_meant(section: str, key: str, hint: str) -> None:
    found = [line for line in told(with_(section, **{key: 1})) if "unknown key" in line]
    assert len(found) == 1
    assert found[0].startswith(f'{section or "spec"}: unknown key "{key}", {hint}')


@pytest.mark.parametrize(
    ("section", "changes", "line"),
    [
        ("objective", {"direction": "max"}, "got \"max\", did you mean 'maximize'?"),
        ("objective", {"direction": "maximise"}, "got \"maximise\", did you mean 'maximize'?"),
        ("objective", {"direction": "maximum"}, "got \"maximum\", did you mean 'maximize'?"),
        ("objective", {"direction": "Minimize"}, "got \"Minimize\", did you mean 'minimize'?"),
        ("objective", {"direction": "min"}, "got \"min\", did you mean 'minimize'?"),
        ("objective", {"reduce": "latest"}, "got \"latest\", did you mean 'last'?"),
        ("", {"mode": "min"}, 'got "min"; which way is better says objective.direction: minimize'),
        ("space.lr", {"scale": "logarithmic"}, "got \"logarithmic\", did you mean 'log'?"),
        ("space.lr", {"type": "double"}, "got \"double\", did you mean 'float'?"),
        ("space.lr", {"type": "real"}, "got \"real\", did you mean 'float'?"),
        ("space.lr", {"type": "loguniform"}, "did you mean 'float' (with scale: log)?"),
        ("space.lr", {"type": "qnormal"}, "'float' (with distribution: normal and step: …)?"),
        ("space.lr", {"type": "lognormal"}, "'float' (with distribution: lognormal)?"),
        ("space.lr", {"type": "quniform"}, "did you mean 'float' (with step: …)?"),
        ("space.lr", {"sd": 1.0}, "did you mean 'sigma'?"),
        ("space.lr", {"type": "integer"}, "got \"integer\", did you mean 'int'?"),
        ("space.lr", {"type": "discrete"}, "got \"discrete\", did you mean 'ordinal'?"),
        ("space.lr", {"type": "choice"}, "got \"choice\", did you mean 'categorical'?"),
        ("sampler", {"name": "BayesianOptimization"}, "did you mean 'bayesian'?"),
        ("trial", {"backend": "k8s"}, "did you mean 'kubernetes'?"),
    ],
)
def test_a_value_of_another_tool_says_which_is_ours(
    section: str, changes: dict[str, Any], line: str
) -> None:
    assert any(line in one for one in told(with_(section, **changes))), told(
        with_(section, **changes)
    )


def test_every_word_that_is_hinted_at_is_one_of_ours() -> None:
    """A hint must not name a key or a value that was renamed."""
    keys = {key for _, model in _PLACES for key in model.key_names()}
    types = get_args(get_args(Parameter)[0])
    keys |= {key for model in types for key in model.key_names()}
    values = {model.model_fields["type"].default for model in types}
    values |= {"maximize", "minimize", "last", "best", "log", "reverse_log", "linear"}
    values |= {*SAMPLERS, *BACKENDS, *DEPLOYERS}
    assert {ours.partition(" ")[0] for ours in _CALLED} <= keys | values
    words = [word for said in _CALLED.values() for word in said.split()]
    assert all(word.isalnum() and word == word.lower() for word in words)


@pytest.mark.parametrize("name", ["", "-", "x" * 200_000, "ß", "\0"])
def test_any_name_gets_a_hint_or_none(name: str) -> None:
    assert nearest(name, ["low", "high"]) == ""


@pytest.mark.parametrize(
    ("section", "key"),
    [
        *(("trial", "timeout"), ("trial", "start_timeout")),
        *(("limits", "max_duration"), ("warm_start", "half_life")),
    ],
)
def test_a_duration_without_a_unit_is_told_its_form(section: str, key: str) -> None:
    lines = told(with_(section, **{key: 3600}))
    rule = "must be a duration such as 90s, 30m, 6h or 1d, got 3600"
    assert lines == [f"{section}.{key}: {rule}"]


def test_a_list_of_parameters_is_told_that_it_has_to_be_a_mapping() -> None:
    space = [{"name": "lr", "type": "float", "low": 0.1, "high": 1.0}]
    (line,) = [one for one in told(GOOD | {"space": space}) if one.startswith("space: ")]
    assert line.startswith(
        f"space: must be a mapping of parameters by their names, such as x: {EXAMPLE}, got ["
    )


def test_auto_chooses_none_but_its_choices() -> None:
    space = Space({"x": IntParameter(low=1, high=2)})
    goal = Goal((("loss", Direction.MINIMIZE),))
    for trials, parallel in ((None, None), (2, 2), (1, 1), (9, 2)):
        name, _ = choose(space, goal, trials=trials, parallel=parallel, fidelity=False)
        assert name in CHOICES


SECTIONS = ("", "objective", "space.lr", "trial", "trial.resources", "limits", "sampler", "metrics")
KEYS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=9).map(lambda key: f"zz_{key}")


@given(
    st.dictionaries(st.tuples(st.sampled_from(SECTIONS), KEYS), st.integers(), max_size=30),
    st.sampled_from([{}, {"objective/direction": "max"}, {"space/lr/type": "double"}]),
)
def test_every_unknown_key_is_told_at_every_level_whatever_else_is_wrong(
    unknown: dict[tuple[str, str], int], wrong: dict[str, Any]
) -> None:
    conf = copy.deepcopy(GOOD)
    for (section, key), value in unknown.items():
        place = conf
        for part in filter(None, section.split(".")):
            place = place.setdefault(part, {})
        place[key] = value
    for path, value in wrong.items():
        *parents, last = path.split("/")
        place = conf
        for part in parents:
            place = place[part]
        place[last] = value
    lines = told(conf)
    for section, key in unknown:
        assert any(
            line.startswith(f'{section or "spec"}: unknown key "{key}"') for line in lines
        ), (section, key, lines)


def test_a_scheduler_that_is_not_there_hides_no_unknown_key_of_auto_nor_any_other() -> None:
    """`auto` is chosen by the scheduler, among others; what it takes is told all the same."""
    lines = told(GOOD | {"scheduler": {"name": "nosuch"}, "sampler": {"zz": 1}, "yy": 1})
    assert any(line.startswith('sampler: unknown key "zz"') for line in lines)
    assert any(line.startswith('spec: unknown key "yy"') for line in lines)
    assert any(line.startswith("scheduler.name: unknown scheduler 'nosuch'") for line in lines)


@pytest.mark.parametrize(("section", "key"), [("trial", "name"), ("limits", "type")])
def test_a_word_of_many_places_is_sent_to_none_of_them(section: str, key: str) -> None:
    (line,) = told(with_(section, **{key: "x"}))
    assert line.startswith(f'{section}: unknown key "{key}"; known: ')


def test_of_very_many_unknown_keys_the_number_is_told() -> None:
    lines = told(with_("limits", **{f"zz{number}": 1 for number in range(60)}))
    assert sum("unknown key" in line for line in lines) == 51
    assert lines[50] == "limits: has 10 further unknown keys"


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        ("python train.py --x 1", '[python, train.py, --x, "1"]'),
        ("python train.py --lr=${params.lr}", '[python, train.py, "--lr=${params.lr}"]'),
        ("python 'my train.py'", '[python, "my train.py"]'),
        ("cd x && python train.py", """[sh, -c, 'cd x && python train.py "$@"', sh]"""),
        ("python train.py && echo done", """[sh, -c, 'python train.py "$@" && echo done', sh]"""),
        ("python train.py > log.txt", """[sh, -c, 'python train.py "$@" > log.txt', sh]"""),
        ("python train.py 2>&1 | tee l", """[sh, -c, 'python train.py "$@" 2>&1 | tee l', sh]"""),
        ("python train.py --data $D", """[sh, -c, 'python train.py --data $D "$@"', sh]"""),
        (". v/activate; X=1 train", """[sh, -c, '. v/activate; X=1 train "$@"', sh]"""),
        ("source v && train", """[bash, -c, 'source v && train "$@"', bash]"""),
        ("sh -c 'python train.py'", """[sh, -c, 'python train.py "$@"', sh]"""),
        ("train --x ${params.lr} | tee l", '[sh, -c, "train --x ${params.lr} | tee l"]'),
        ("train $1 | tee l", '[sh, -c, "train $1 | tee l", sh]'),
        ("train | awk '{print $1}'", """[sh, -c, "train \\"$@\\" | awk '{print $1}'", sh]"""),
        ("""train "it's $X" 'c'""", """[sh, -c, "train \\"it's $X\\" 'c' \\"$@\\"", sh]"""),
        ('python train.py --q "a; b"', '[python, train.py, --q, "a; b"]'),
        ("python train.py --x 1\n", '[python, train.py, --x, "1"]'),
        ("run no 1e5 .5", '[run, "no", "1e5", ".5"]'),
        ('python "train.py', "[python, train.py]"),
        ("", "[python, train.py]"),
        ("x" * 10_000, "[python, train.py]"),
    ],
)
def test_a_command_in_one_text_is_shown_as_a_list(line: str, listed: str) -> None:
    (said,) = told(with_("trial", command=line))
    assert said.startswith(f"trial.command: must be a list of words, such as {listed}, got ")
    read = yaml.safe_load(listed)
    spec = load(with_("trial", command=read))
    assert spec.trial.command == tuple(read)
    assert spec.notes() == []


@pytest.mark.parametrize(
    "line",
    [
        *("python a.py && python b.py", "python train.py &", "(cd x; train)", "train &> log"),
        *(
            "for x in 1 2; do train; done",
            "if true; then train; fi",
            "cat <<E\nx\nE",
            "train > l # x",
        ),
        *("set -- a; train", "ls | xargs train", "{ train; }", "echo `train`", "sh -c train > log"),
    ],
)
def test_of_a_line_of_which_the_program_is_not_certain_the_form_is_told(line: str) -> None:
    (said,) = told(with_("trial", command=line))
    form = """[python, train.py]; a shell's line is [sh, -c, TEXT, sh], with "$@" in it for the """
    assert said.startswith(f"trial.command: must be a list of words, such as {form}parameters, got")


@pytest.mark.parametrize(
    "line",
    [
        "python train.py && echo done",
        "cd . && python train.py --a 'b c' | tee log 2>&1",
        "python train.py > log 2>&1; echo done",
        "A=1 python train.py --data $HOME 2> errors",
        'set -e\nmkdir -p x\npython train.py --a "b && c" \\\n  --d > x/log',
        "cat train.py | python train.py --at $(date +%s)",
        "sh -c 'python train.py; true'",
        "python train.py --only ~/x",
        "python train.py",
        "A=1 python train.py --b 'c d'",
    ],
)
def test_the_command_that_is_advised_tells_the_program_every_parameter(
    line: str, tmp_path: Path
) -> None:
    """A real shell runs it, as a trial would."""
    (said,) = told(with_("trial", command=line))
    advised = said.partition("such as ")[2].partition(", got ")[0].partition(" with {")[0]
    spec = load(with_("trial", command=yaml.safe_load(advised)))
    (tmp_path / "train.py").write_text("import sys\nopen('told', 'a').write(repr(sys.argv[1:]))\n")
    (tmp_path / "python").symlink_to(Path(sys.executable).resolve())
    made = preview(spec, Trial(1, {"lr": 0.5, "name": "a b"}))
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(tmp_path)}
    subprocess.run(made.command, cwd=tmp_path, env=env, check=True, stdout=subprocess.DEVNULL)
    words = ast.literal_eval((tmp_path / "told").read_text())
    assert words[-2:] == ["--lr=0.5", "--name=a b"]


@pytest.mark.parametrize(
    ("command", "note"),
    [
        (
            ["sh", "-c", "python t.py"],
            'parameters are appended, but "python t.py" does not use them, as "$@" or '
            "${params.NAME} would: write [sh, -c, 'python t.py \"$@\"', sh]",
        ),
        (
            ["/bin/bash", "-eo", "pipefail", "-c", "a && b"],
            'parameters are appended, but "a && b" does not use them, as "$@" or ${params.NAME} '
            "would",
        ),
        (
            ["env", "A=1", "sh", "-c", "t"],
            'parameters are appended, but "t" does not use them, as "$@" or ${params.NAME} would: '
            "write [env, A=1, sh, -c, 't \"$@\"', sh]",
        ),
        (
            ["sh", "-c", 't "$@"'],
            'the first parameter becomes $0 of "t \\"$@\\"", which "$@" leaves out: write '
            "[sh, -c, 't \"$@\"', sh]",
        ),
        (
            ["python train.py"],
            '"python train.py" is one word, the name of a program: write [python, train.py]',
        ),
        (
            ["python train.py", "--x", "1"],
            '"python train.py" is one word, the name of a program: write '
            '[python, train.py, --x, "1"]',
        ),
        (
            ["A=1", "python", "t.py"],
            '"A=1" is the name of a program here; variables belong in trial.env',
        ),
        *((words, None) for words in (["sh", "t.sh"], ["python", "-c", "1"], ["my-program"])),
        (["sh", "-c", 't "$@"', "sh"], None),
        (["sh", "-c", "t --lr ${params.lr}"], None),
        (["sh", "-c", "t $HPO_PARAMS"], None),
    ],
)
def test_a_command_that_is_not_run_as_it_reads_is_noted(
    command: list[str], note: str | None
) -> None:
    spec = load(with_("trial", command=command))
    assert spec.notes() == ([] if note is None else [f"trial.command: {note}"])


@pytest.mark.parametrize("text", ["token" * 40_000, "'" * 200_001, '"$' * 60_000, "a;" * 99_999])
def test_a_long_command_takes_no_time_and_makes_no_long_note(text: str) -> None:
    began = time.process_time()
    (said,) = told(with_("trial", command=text))
    notes = load(with_("trial", command=["sh", "-c", text])).notes()
    assert time.process_time() - began < 8
    assert len(said) < 400
    assert max(map(len, notes)) < 400


def test_a_command_of_the_final_training_is_noted_too() -> None:
    conf = with_("", final={"trial": {"command": ["sh", "-c", "train"]}})
    (note,) = load(conf).notes()
    assert note.startswith("final.trial.command: parameters are appended, but")


@pytest.mark.parametrize(
    ("key", "line", "hint"),
    [
        (
            "command",
            "FOO=1 python t.py",
            'such as [python, t.py] with {FOO: "1"} in trial.env, got',
        ),
        ("command", "A=b C='d e' t", 'such as [t] with {A: b, C: "d e"} in trial.env, got'),
        ("command", "LD_X=/x t", "such as [t]; in trial.env names with HPO_, AIRFLOW or LD_ in "),
        ("command", "API_KEY=sesame t", "such as [t]; in trial.env API_KEY looks like a secret"),
        ("args", "--a $X", 'such as [--a, "$X"]; no shell reads them, got'),
        ("args", "--a 1 && b", 'such as [--a, "1", "&&", b]; no shell reads them, got'),
        ("args", "--a 1", 'such as [--a, "1"], got'),
        ("args", "FOO=1", "such as [FOO=1], got"),
    ],
)
def test_variables_and_arguments_in_one_text_are_told_their_place(
    key: str, line: str, hint: str
) -> None:
    (said,) = told(with_("trial", **{key: line}))
    assert said.startswith(f"trial.{key}: must be a list of words, {hint}")
    assert "sesame" not in said


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_the_list_that_is_shown_reads_as_the_same_words(line: str) -> None:
    words = yaml.safe_load(listed(_split(line)))
    assert all(isinstance(word, str) for word in words)
    if not words:
        return
    shell, flag, text = words[:3] if len(words) > 2 else ("", "", "")
    assert words == shlex.split(line) or (
        flag == "-c" and shell in words[3:] and text.replace(' "$@"', "", 1) in line
    )


KATIB = sorted((Path(__file__).parents[3] / "shared" / "katib-examples").glob("*.yaml"))
EXPERIMENT = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "spec": {}}


@pytest.mark.parametrize("path", KATIB, ids=lambda path: path.stem)
def test_a_katib_example_is_told_for_what_it_is(path: Path) -> None:
    (line,) = told(yaml.safe_load(path.read_text()))
    assert line.startswith("spec: must be an experiment as in docs/spec.md, got a Katib Experiment")


@pytest.mark.parametrize(
    ("conf", "line"),
    [
        (EXPERIMENT, "got a Katib Experiment; here its objective.type is objective.direction, "),
        (
            {"apiVersion": "v1", "kind": "List", "items": [EXPERIMENT, EXPERIMENT]},
            "got a Kubernetes List of 2, in place of one; the first is a Katib Experiment; ",
        ),
        (
            {"apiVersion": "batch/v1", "kind": "Job", "spec": {}},
            "got a Kubernetes Job; what a trial runs is trial.options.resource of trial.backend ",
        ),
        ({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}, "got a Kubernetes ConfigMap"),
        (
            {"HyperParameterTuningJobName": "x", "HyperParameterTuningJobConfig": {}},
            "got a tuning job of SageMaker; here its Strategy is sampler.name, ",
        ),
        ({"Strategy": "Bayesian", "ParameterRanges": {}}, "got a tuning job of SageMaker; "),
        (
            {
                "apiVersion": "sagemaker.services.k8s.aws/v1alpha1",
                "kind": "HyperParameterTuningJob",
            },
            "got a tuning job of SageMaker; ",
        ),
        ({"displayName": "x", "studySpec": {}}, "got a study of Vertex AI or Vizier; "),
        ({"method": "bayes", "parameters": {}}, "got a sweep of W&B; "),
        ({"num_samples": 9, "config": {}, "metric": "loss"}, "got a setting of Ray Tune; "),
        ({"direction": "minimize", "n_trials": 9, "params": {}}, "got a study of Optuna; "),
        ({"searchSpaceFile": "s.json", "trialCommand": "x"}, "got an experiment of NNI; "),
        ({"lr": [0.1, 0.01], "units": [8, 16]}, "got a search space alone; it belongs in space"),
        ({"lr": {"_type": "uniform", "_value": [0, 1]}}, "got a search space alone; "),
        ({"conf": GOOD}, 'must be the experiment itself, got it inside of "conf"'),
        (
            {"dag_run_id": "x", "conf": {"max_trials": 1}},
            'must be the experiment itself, got it inside of "conf"',
        ),
        ({"experiment": GOOD}, 'must be the experiment itself, got it inside of "experiment"'),
    ],
)
def test_a_conf_that_is_something_else_is_told_for_what_it_is(
    conf: dict[str, Any], line: str
) -> None:
    (said,) = told(conf)
    assert line in said


@pytest.mark.parametrize("more", [{}, *({key: {}} for tool in TOOLS for key in tool.told_by[0])])
def test_an_experiment_of_ours_is_never_taken_for_anothers(more: dict[str, Any]) -> None:
    assert all("must be an experiment" not in line for line in told(GOOD | more))
    half = {"name": "wine", "trial": {}} | more
    assert all("must be an experiment" not in line for line in told(half))


def _named(model: Any, path: list[str]) -> Iterator[bool]:
    """Say of each step of a path whether there is such a key."""
    places = dict(_PLACES)
    for index, key in enumerate(path):
        yield key in places[".".join(path[:index])].key_names()


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.what)
def test_a_tools_names_are_told_by_names_that_exist(tool: Any) -> None:
    parameter = {key for model in get_args(get_args(Parameter)[0]) for key in model.key_names()}
    for ours in tool.names.values():
        path = ours.partition(" ")[0]
        found = path in parameter or path == "trial.options.resource"
        assert found or all(_named(Spec, path.split("."))), path


def test_the_parameter_that_is_shown_as_an_example_is_one() -> None:
    load(GOOD | {"space": {"x": yaml.safe_load(EXAMPLE)}})


@given(
    st.dictionaries(
        st.text(max_size=12),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
            max_leaves=8,
        ),
        max_size=8,
    )
)
@example({"": None, ".\x1f": None})
def test_whatever_a_conf_holds_it_is_refused_in_words(conf: dict[str, Any]) -> None:
    assert told(conf)
