"""`hpo init`: flags read of a script's text, words of parameters, and the spec they make."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.cli import init, main
from hpo_lib.cli.console import program
from hpo_lib.cli.init import answered
from hpo_lib.core.trial import History, Trial
from hpo_lib.errors import SpecError
from hpo_lib.search import engine
from hpo_lib.spec import load, script_flags
from hpo_lib.spec.command_line import preview
from hpo_lib.spec.flags import Spelling
from hpo_lib.spec.script_flags import Flag, Script
from hpo_lib.spec.space_words import parameter
from hpo_lib.spec.starter import Asked, better, offer, on_space, spec, stays, written
from hpo_lib.spec.told_flags import unfit
from hpo_lib.spec.yaml_file import from_yaml

ARGPARSE = """\
import argparse
raise SystemExit("this must not be run")
p = argparse.ArgumentParser()
p.add_argument("-l", "--learning-rate", type=float, default=1e-3)
p.add_argument("--units", type=int, required=True)
p.add_argument("--optimizer", choices=["adam", "sgd"])
p.add_argument("--nesterov", action="store_true")
p.add_argument("--augment", action=argparse.BooleanOptionalAction)
p.add_argument("data")
"""
CLICK = """\
import click
@click.command()
@click.option("--learning-rate", "-l", "rate", type=float, default=0.001)
@click.option("--units", type=click.IntRange(1, 9), required=True)
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]))
@click.option("--nesterov/--no-nesterov", default=False)
@click.option("--fast", is_flag=True)
@click.argument("data")
def main(**given): ...
"""
ABSL = """\
from absl import app, flags
flags.DEFINE_float("learning_rate", 0.001, "how fast")
flags.DEFINE_integer("units", None, "how wide", required=True)
flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "which")
flags.DEFINE_bool("nesterov", False, "or not")
flags.DEFINE_string("data", None, "where")
flags.mark_flag_as_required("data")
"""
TYPER = """\
import typer
app = typer.Typer()
@app.command()
def main(data: str, units: int = typer.Option(...), learning_rate: float = 0.001,
         nesterov: bool = False): ...
"""
KERAS = """\
model.compile("adam", "mse", metrics=["accuracy"])
model.fit(x, y, epochs=3, validation_split=0.2)
"""


def flags_of(text: str) -> dict[str, Flag]:
    return {one.name: one for one in script_flags.read(text, "train.py").flags}


@pytest.mark.parametrize("text", [ARGPARSE, CLICK, ABSL, TYPER])
def test_flags_are_read_as_they_are_spelled(text: str) -> None:
    found = script_flags.read(text, "train.py")
    assert found.complete
    rate = found.flag("learning-rate") or found.flag("rate")
    assert (rate.word, rate.kind, rate.default, rate.required) in [
        ("--learning-rate", float, 0.001, False),
        ("--learning_rate", float, 0.001, False),
    ]
    units, data = found.flag("units"), found.flag("data")
    assert (units.word, units.kind, units.required) == ("--units", int, True)
    assert data.required
    if "optimizer" in text:
        assert found.flag("optimizer").choices == ("adam", "sgd")


def test_booleans_are_told_as_their_parser_wants_them() -> None:
    told = {name: one.spelling for name, one in flags_of(ARGPARSE).items() if one.spelling}
    assert told == {"nesterov": Spelling.PRESENCE, "augment": Spelling.NO_PREFIX}
    told = {name: one.spelling for name, one in flags_of(CLICK).items() if one.spelling}
    assert told == {"nesterov": Spelling.NO_PREFIX, "fast": Spelling.PRESENCE}
    assert flags_of(ABSL)["nesterov"].spelling is Spelling.TRUE_FALSE
    assert flags_of(TYPER)["nesterov"].spelling is Spelling.NO_PREFIX
    naive = 'p.add_argument("--x", type=bool)'
    assert flags_of(naive)["x"].spelling is Spelling.TRUE_EMPTY


@pytest.mark.parametrize(
    "line",
    [
        "for name in names: p.add_argument(f'--{name}')",
        "p.add_argument(*names)",
        "p.add_argument('--x', **more)",
        "p.parse_known_args()",
        "p.add_subparsers()",
        "argparse.ArgumentParser(parents=[other])",
        "import fire",
        "from hydra import main",
        "print(sys.argv)",
    ],
)
def test_what_cannot_be_read_is_not_taken_for_all(line: str) -> None:
    assert not script_flags.read(f"{ARGPARSE}\n{line}", "train.py").complete


def test_a_script_without_flags_may_take_any() -> None:
    assert not script_flags.read("print(1)", "train.py").complete


def test_what_keras_will_print_is_a_guess() -> None:
    assert script_flags.read(KERAS, "t").metric == "val_accuracy"
    assert script_flags.read(KERAS.replace(", validation_split=0.2", ""), "t").metric == "accuracy"
    assert script_flags.read("model.fit(x, epochs=1)", "t").metric == "loss"
    assert script_flags.read("tree.fit(x, y)", "t").metric == ""


@pytest.mark.parametrize("text", ["def", "\0", "(" * 500, "x = " + "-" * 5000 + "1"])
def test_what_is_no_python_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"train\.py: must be a Python program"):
        script_flags.read(text, "train.py")


@given(st.text("adp._gumentr()\"'-=[]*,:@\n x1", max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        script_flags.read(f"p.add_argument({text})", "train.py")
    except SpecError:
        return


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("1e-5..1e-1:log", {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"}),
        ("32..512:32", {"type": "int", "low": 32, "high": 512, "step": 32}),
        ("1..4", {"type": "int", "low": 1, "high": 4}),
        ("1..4:normal", {"type": "int", "low": 1, "high": 4, "distribution": "normal"}),
        ("1..512:log:8", {"type": "int", "low": 1, "high": 512, "scale": "log", "step": 8}),
        (
            "0.1..4:0.1:lognormal",
            {"type": "float", "low": 0.1, "high": 4.0, "step": 0.1, "distribution": "lognormal"},
        ),
        ("0..0.5", {"type": "float", "low": 0.0, "high": 0.5}),
        ("-1..1.", {"type": "float", "low": -1.0, "high": 1.0}),
        ("adam,sgd", {"type": "categorical", "choices": ["adam", "sgd"]}),
        ("16,32,64", {"type": "ordinal", "choices": [16, 32, 64]}),
        ("32,16", {"type": "categorical", "choices": [32, 16]}),
        ("true,false", {"type": "categorical", "choices": [True, False]}),
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("../data.csv", "../data.csv"),
        ("a=b", "a=b"),
        ("1_000", "1_000"),
    ],
)
def test_words_say_parameters_and_constants(said: str, made: Any) -> None:
    assert parameter("x", said) == made


def test_the_script_says_what_numbers_it_takes() -> None:
    assert parameter("x", "0..1", float) == {"type": "float", "low": 0.0, "high": 1.0}
    assert parameter("x", "1e1..1e3:log", int)["type"] == "int"
    assert parameter("x", "1,2", str)["choices"] == ["1", "2"]
    with pytest.raises(SpecError, match=r"space\.x: must be whole numbers"):
        parameter("x", "0.5..2", int)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "1..",
        "..2",
        "1..2:logg",
        "1..2:",
        "1..2:log:log",
        "1..2:1:2",
        "1..x",
        "a,,b",
        "1e999..2",
    ],
)
def test_a_word_that_says_nothing_is_refused(said: str) -> None:
    with pytest.raises(SpecError, match=r"space\.x: must be LOW\.\.HIGH"):
        parameter("x", said)


@pytest.mark.parametrize(
    ("metric", "way"),
    [("val_accuracy", "maximize"), ("val_loss", "minimize"), ("roc_auc", "maximize"),
     ("rmse", "minimize"), ("time", "")],
)  # fmt: skip
def test_names_of_metrics_say_which_way_is_better(metric: str, way: str) -> None:
    assert better(metric) == way


def asked(*words: str, **more: Any) -> Asked:
    return Asked("mine", "train.py", "loss", "minimize", words, **more)


def trial_1(document: dict[str, Any]) -> list[str]:
    """Give the command of the first trial."""
    made = load(document)
    (first,) = engine.step(made, History(), 1).assignments
    return list(preview(made, Trial(1, first.params)).command)


def test_the_command_has_each_flag_as_the_script_spells_it() -> None:
    words = ["learning_rate=0.1..0.2", "units=5", "nesterov=true", "augment=false", "data=x y"]
    line = trial_1(spec(asked(*words, "optimizer"), script_flags.read(ARGPARSE, "train.py")))
    assert line[:2] == ["python", "train.py"]
    assert line[-1] == "x y", "what has no name comes last"
    assert {one.partition("=")[0] for one in line[2:-1]} == {
        *("--learning-rate", "--units", "--nesterov", "--no-augment", "--optimizer")
    }


def test_parameters_that_are_called_as_their_flags_need_no_arguments() -> None:
    made = spec(asked("units=1..4", "data=x"), script_flags.read(ABSL, "train.py"))
    assert made["trial"] == {"command": ["python", "train.py"]}


def test_every_mistake_is_told_at_once() -> None:
    script = script_flags.read(ARGPARSE, "train.py")
    with pytest.raises(SpecError) as caught:
        spec(asked("lr=1..2", "optimizer=adam,rmsprop", "optimizer=sgd", "nesterov=1.."), script)
    told = str(caught.value).splitlines()
    assert told == [
        "space.optimizer: is said twice",
        "space.lr: train.py does not take it, did you mean '--learning-rate'?; it takes "
        "--learning-rate, --units, --optimizer, --nesterov, --augment, data",
        'space.optimizer: train.py takes adam, sgd, got "rmsprop"',
        "space.nesterov: must be LOW..HIGH, LOW..HIGH:log, LOW..HIGH:normal, LOW..HIGH:STEP, "
        'choices such as adam,sgd, or one value, got "1.."',
        "space: train.py needs --units; add units=LOW..HIGH, or units=VALUE for a constant",
        "space: train.py needs data; add data=VALUE",
    ]


def test_what_a_script_offers_comes_of_its_defaults() -> None:
    found = flags_of(ARGPARSE)
    assert offer(found["learning_rate"]) == "0.0001..0.01:log"
    assert offer(found["optimizer"]) == "adam,sgd"
    assert offer(found["nesterov"]) == "true,false"
    assert offer(found["units"]) == ""
    assert offer(Flag("n", "--n", int, default=64)) == "32..128"


@pytest.mark.parametrize(
    "name",
    ["epochs", "num-epochs", "max_steps", "n_iterations", "budget", "seed", "random_state",
     "verbose", "num-workers", "n_jobs", "data-dir", "log_interval", "device", "dataset", "debug"],
)  # fmt: skip
def test_what_makes_no_better_model_is_not_offered(name: str) -> None:
    assert stays(Flag(name, f"--{name}"))


@pytest.mark.parametrize(
    "name",
    ["lr", "batch_size", "step_size", "warmup_steps", "decay_epochs", "n_estimators", "units",
     "data_augmentation", "lora_rank", "output_dim", "logits"],
)  # fmt: skip
def test_what_may_make_a_better_model_is_offered(name: str) -> None:
    assert not stays(Flag(name, f"--{name}"))


@pytest.mark.parametrize("told", ["", "p.add_argument('--the-momentum', dest='momentum')\n"])
def test_the_file_says_what_stays_and_how_it_is_searched(told: str) -> None:
    """Also where each flag is in the arguments: what the comment says is right as it stands."""
    text = f"{LONG}{told}"
    script = script_flags.read(text, "train.py")
    made = spec(asked("lr=0.1..0.2", *(["momentum=0..0.9"] if told else [])), script)
    lines = written(made, "train.py", "train.yaml", on_space(made, script)).splitlines()
    left = "left as the script has it: epochs 10, seed 3"
    assert f"  # {left}; to search one, put it here like this:" in lines
    (hint,) = (one for one in lines if one.startswith("  # epochs: "))
    line, _, word = hint.removeprefix("  # ").partition("  # and in trial.args: ")
    lines[lines.index(hint)] = f"  {line}"
    lines = [one.replace("args: [", f"args: [{word}, ") for one in lines]
    searched = from_yaml("\n".join(lines))
    assert (searched.space["epochs"].low, searched.space["epochs"].high) == (5, 20)
    assert any(one.startswith("--epochs=") for one in trial_1(searched.dump()))
    asked_for = spec(asked("lr=0.1..0.2", "epochs", "seed=1"), script)
    assert list(asked_for["space"]) == ["lr", "epochs"]
    assert on_space(asked_for, script) == []


LONG = """\
import argparse
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.01)
p.add_argument("--epochs", type=int, default=10)
p.add_argument("--seed", type=int, default=3)
p.add_argument("--verbose", action="store_true")
p.add_argument("--dataset", choices=["a", "b"])
"""


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}([_-][a-z]{1,4})?", fullmatch=True)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda one: round(one, 3))
LETTERS = st.characters(codec="utf-8", exclude_characters=",$", exclude_categories=["C", "Z"])
TEXTS = st.text(LETTERS, min_size=1, max_size=6)


@st.composite
def words(draw: st.DrawFn) -> tuple[Flag, str]:
    """Draw a flag and a word that says it."""
    name = draw(NAMES)
    sort = draw(st.sampled_from(["float", "int", "log", "choices", "bool", "constant"]))
    kind: type | None = draw(st.sampled_from([None, {"float": float, "int": int}.get(sort)]))
    low, more = draw(st.integers(-50, 50)), draw(st.integers(1, 50))
    if sort == "choices":
        listed = draw(st.lists(TEXTS, min_size=2, max_size=4, unique=True))
        return Flag(name, f"--{name}", str), f"{name}={','.join(listed)}"
    if sort == "bool":
        spelling = draw(st.sampled_from(list(Spelling)))
        return Flag(name, f"--{name}", bool, spelling=spelling), f"{name}=true,false"
    said = {
        "float": f"{low}..{low + more}.5",
        "int": f"{low}..{low + more}",
        "log": f"1e-{more}..0.5:log",
        "constant": draw(TEXTS | NUMBERS.map(str)),
    }[sort]
    return Flag(name, f"--{name}", kind), f"{name}={said}"


@given(st.lists(words(), min_size=1, max_size=6, unique_by=lambda one: one[0].key), st.booleans(),
       st.integers(1, 30))  # fmt: skip
def test_any_flags_give_a_file_that_is_read_as_the_same_spec(
    drawn: list[tuple[Flag, str]], complete: bool, trials: int
) -> None:
    script = Script(tuple(flag for flag, _ in drawn), complete)
    try:
        document = spec(asked(*(word for _, word in drawn), trials=trials), script)
    except SpecError as error:  # as of constants alone
        refused = str(error).splitlines()
        assert [line for line in refused if not line.startswith("space")] == []
        return
    text = written(document, "train.py", "train.yaml")
    made = from_yaml(text)
    assert made == load(document)
    assert engine.step(made, History(), 1).assignments[0].trial == 1
    assert len(text.splitlines()) <= 10 + len(drawn)


# The command


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in a folder of its own, where the command is typed."""
    folder = tmp_path / "My Digits"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    (folder / "train.py").write_text(ARGPARSE.replace('p.add_argument("data")\n', "") + KERAS)
    return folder / "train.py"


GOOD = "train.py --metric val_accuracy --maximize learning_rate=1e-5..1e-1:log units=32..512:32"


def test_one_line_makes_a_spec_that_can_be_planned(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["init", *GOOD.split(), "optimizer=adam,sgd", "--trials", "8"]) == 0
    out = capsys.readouterr().out
    assert "next: hpo try train.yaml" in out
    assert f"note: its trials run by {program('python')}; --venv FOLDER names another" in out
    assert main.main(["plan", "train.yaml"]) == 0
    out = capsys.readouterr().out
    assert "experiment   my-digits-train\n" in out
    assert "trials       8 in 4 waves, 2 at once\n" in out
    assert f"runs in      {script.parent}\n" in out
    assert "python train.py --learning-rate=" in out


def test_options_may_stand_between_parameters(script: Path) -> None:
    for line in (
        "train.py units=5 --minimize learning_rate=0.1..0.2 --metric loss optimizer",
        "--minimize --metric loss train.py units=5 learning_rate=0.1..0.2 optimizer",
    ):
        assert main.main(["init", *line.split(), "--force"]) == 0
        made = from_yaml(Path("train.yaml").read_text())
        assert (list(made.space), made.fixed) == (["learning_rate", "optimizer"], {"units": 5})
    with pytest.raises(SystemExit):
        main.main(["init", *GOOD.split(), "--bogus", "x=1..2"])


def test_a_file_that_is_there_stays(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.yaml").write_text("mine")
    assert main.main(["init", *GOOD.split()]) == 2
    assert capsys.readouterr().err == (
        "train.yaml: is there already; --force replaces it, --output names another file\n"
    )
    assert Path("train.yaml").read_text() == "mine"
    assert main.main(["init", *GOOD.split(), "--output", "other.yaml"]) == 0
    assert main.main(["init", *GOOD.split(), "--force"]) == 0


def test_nothing_is_written_of_what_would_be_refused(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["init", *GOOD.split(), "optimizer=adam,rmsprop"]) == 2
    assert main.main(["init", *GOOD.split(), "--venv", "nowhere"]) == 2
    assert "trial.venv: must have a Python" in capsys.readouterr().err
    assert not Path("train.yaml").exists()


def test_without_a_terminal_all_that_is_missing_is_told(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["init", "train.py"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "train.py: --metric NAME is required, as the script prints it; its Keras seems to print "
        "val_accuracy",
        "train.py: name what to search, such as learning_rate=0.0001..0.01:log units=LOW..HIGH "
        "optimizer=adam,sgd nesterov=true,false augment=true,false",
    ]
    assert main.main(["init", "train.py", "--metric", "time", "units=1..2"]) == 2
    assert "--maximize or --minimize is required" in capsys.readouterr().err


def test_on_a_terminal_enter_takes_what_is_offered(script: Path) -> None:
    asked_for: list[str] = []
    answers = {"units": "8..64", "--nesterov": "-", "--augment": "-"}

    def answer(question: str) -> str:
        asked_for.append(question)
        return next((said for name, said in answers.items() if name in question), "")

    made = answered(
        Asked("mine", "train.py", "", "", ()), script_flags.read(script.read_text(), "x"), answer
    )
    assert (made.metric, made.direction) == ("val_accuracy", "maximize")
    assert made.words == ["learning_rate=0.0001..0.01:log", "units=8..64", "optimizer=adam,sgd"]
    assert asked_for[:3] == [
        "metric, as the script prints it [val_accuracy]: ",
        "maximize or minimize [maximize]: ",
        "--learning-rate [0.0001..0.01:log]: ",
    ]
    assert "--units (needed): " in asked_for


def test_on_a_terminal_enter_leaves_what_makes_no_better_model() -> None:
    asked_for: list[str] = []

    def answer(question: str) -> str:
        asked_for.append(question)
        return ""

    made = answered(
        Asked("mine", "train.py", "loss", "minimize", ()), script_flags.read(LONG, "x"), answer
    )
    assert made.words == ["lr=0.001..0.1:log"]
    assert "--epochs (5..20 searches it) [-]: " in asked_for
    assert "--dataset (a,b searches it) [-]: " in asked_for


def test_without_a_terminal_only_what_may_be_searched_is_offered(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text(f"{LONG}p.add_argument('--max-steps', type=int, required=True)\n")
    assert main.main(["init", "train.py", "--metric", "loss"]) == 2
    assert "such as lr=0.001..0.1:log max_steps=VALUE\n" in capsys.readouterr().err
    assert main.main(["init", "train.py", "--metric", "loss", "--minimize", "lr=1..2"]) == 2
    assert "train.py needs --max-steps; add max_steps=VALUE\n" in capsys.readouterr().err


def test_the_environment_beside_a_script_is_its_own(
    script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def environment(folder: Path) -> Path:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        (folder / "pyvenv.cfg").touch()
        return folder

    def found() -> str | None:
        assert main.main(["init", *GOOD.split(), "--force"]) == 0
        return from_yaml(Path("train.yaml").read_text()).trial.venv

    assert found() is None
    monkeypatch.setenv("VIRTUAL_ENV", str(environment(tmp_path / "active")))
    assert found() == str(tmp_path / "active")
    own = environment(script.parent / ".venv")
    assert found() == ".venv"
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setattr(init.sys, "prefix", str(own))
    environment(tmp_path / "trial")
    monkeypatch.setenv("HPO_TRIAL_PATH", str(tmp_path / "trial" / "bin"))
    assert found() is None, "it is this command's own, and trials have another"


def test_a_script_elsewhere_is_named_as_the_spec_sees_it(script: Path, tmp_path: Path) -> None:
    line = shlex.split(GOOD.replace("train.py", "../elsewhere/train.py"))
    (tmp_path / "elsewhere").mkdir()
    script.rename(tmp_path / "elsewhere" / "train.py")
    assert main.main(["init", *line]) == 0
    made = from_yaml(Path("train.yaml").read_text())
    assert made.trial.command == ("python", str(tmp_path / "elsewhere" / "train.py"))
    assert main.main(["init", *line, "--output", str(tmp_path / "x.yaml")]) == 0
    made = from_yaml((tmp_path / "x.yaml").read_text())
    assert made.trial.command == ("python", "elsewhere/train.py")


@pytest.mark.parametrize(
    ("name", "why"),
    [("none.py", "No such file or directory"), (".", "Is a directory"), ("a.sh", "with .py")],
)
def test_a_script_that_cannot_be_read_is_refused(
    script: Path, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    (script.parent / "a.sh").touch()
    assert main.main(["init", *GOOD.replace("train.py", name).split()]) == 2
    assert why in capsys.readouterr().err


def test_what_could_not_be_read_is_said(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text("import sys; print(sys.argv)")
    assert main.main(["init", *GOOD.split()]) == 0
    assert "note: not all flags of train.py could be read" in capsys.readouterr().out


def told(script: str, space: list[str], **trial: Any) -> list[str]:
    """Give what is said of the flags of a spec with these parameters."""
    made = load(
        {
            "name": "x",
            "objective": {"metric": "loss", "direction": "minimize"},
            "space": {name: {"type": "int", "low": 1, "high": 9} for name in space},
            "trial": {"command": ["python", "train.py"], **trial},
        }
    )
    return list(unfit(made, script_flags.read(script, "train.py"), "train.py", 1))


def test_a_spec_is_held_against_the_flags_of_its_script() -> None:
    assert told(ARGPARSE, ["units"], args=["--units=${params.units}", "-l", "--augm"]) == []
    assert told(ARGPARSE, ["units"], args=["--uni=1", "--no-augment", "--", "--bogus"]) == [
        "train.py needs --units, which nothing tells it"
    ]
    wrong, other = told(ARGPARSE, ["units", "learning_rate", "optimiser"])
    assert wrong.startswith(
        "train.py takes no --learning_rate, did you mean '--learning-rate'?; it takes --learning"
    )
    assert other.startswith("train.py takes no --optimiser, did you mean '--optimizer'?")
    assert told(CLICK, ["units"], args=["--units=1", "--no-nesterov"]) == []
    assert len(told(CLICK, ["units", "rate"])) == 1, "rate is what the function calls it"
    assert told(TYPER, ["units"], args=["--bogus"]) != []
    assert told(f"{ARGPARSE}\np.parse_known_args()", ["bogus"]) == []
