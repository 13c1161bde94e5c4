"""The paths of a spec file: relative to it, checked here, in folders of the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo_lib.backends.local import LocalBackend
from hpo_lib.cli import main
from hpo_lib.core.trial import Trial
from hpo_lib.errors import SpecError
from hpo_lib.installation import Environment, Inputs, installation_of
from hpo_lib.runs import admission, fingerprint
from hpo_lib.spec import Spec, load
from hpo_lib.spec.command_line import preview
from hpo_lib.spec.own_paths import placed, script
from hpo_lib.spec.yaml_file import to_yaml

SPEC = {
    "name": "mine",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "trial": {"command": ["python", "train.py"]},
}


def spec(final: Any = None, **trial: Any) -> Spec:
    """Give a spec with these in its trial."""
    made = SPEC | {"trial": SPEC["trial"] | trial}
    return load(made if final is None else made | {"final": {"trial": final}})


def places(made: Spec) -> tuple[str | None, ...]:
    return made.trial.dir, made.trial.python, made.trial.venv


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, ("/home/me/mine", None, None)),
        ({"dir": "."}, ("/home/me/mine", None, None)),
        ({"dir": "src/../.."}, ("/home/me", None, None)),
        ({"dir": "/data"}, ("/data", None, None)),
        ({"dir": "/work"}, (None, None, None)),  # where they run anyhow
        ({"venv": ".venv"}, ("/home/me/mine", None, "/home/me/mine/.venv")),
        ({"python": "../env/bin/python"}, ("/home/me/mine", "/home/me/env/bin/python", None)),
        ({"python": "python3.12"}, ("/home/me/mine", "python3.12", None)),
    ],
)
def test_a_files_paths_are_relative_to_its_folder(said: Any, found: Any) -> None:
    made = placed(spec(**said), "/home/me/mine", "/work")
    assert places(made) == found
    assert load(made.dump()) == made


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert placed(spec(venv="~/env"), "/x", "/work").trial.venv == "/home/me/env"


def test_a_file_where_trials_run_says_no_folder() -> None:
    assert placed(spec(), "/work", "/work") == spec()


def test_final_training_goes_by_the_same_rule() -> None:
    made = placed(spec(final={"timeout": "2h"}), "/f", "/work")
    assert made.for_final.trial.dir == "/f"
    made = placed(spec(final={"dir": "sub", "venv": "e"}, python="/p/bin/python"), "/f", "/work")
    trial = made.for_final.trial
    assert (trial.dir, trial.python, trial.venv) == ("/f/sub", None, "/f/e")
    made = placed(spec(final={"timeout": "2h"}, dir="/work"), "/f", "/work")
    assert (made.trial.dir, made.for_final.trial.dir) == (None, None)
    made = placed(spec(final={"dir": "/work"}), "/f", "/work")
    assert (made.trial.dir, made.for_final.trial.dir) == ("/f", "/work")
    made = placed(
        spec(final={"backend": "docker", "image": "hpo-trial:1"}, venv="e"), "/f", "/work"
    )
    assert (made.trial.venv, made.for_final.trial.dir) == ("/f/e", None)


def test_an_image_has_its_own_places(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError) as caught:
        spec(backend="docker", image="hpo-trial:1", dir="x", venv="y")
    assert str(caught.value).splitlines() == [
        "trial.dir: backend docker runs an image, which has its own",
        "trial.venv: backend docker runs an image, which has its own",
    ]
    made = load(SPEC | {"trial": {"backend": "docker", "image": "hpo-trial:1"}})
    assert placed(made, "/f", "/work") == made


def test_one_python_is_enough() -> None:
    with pytest.raises(SpecError, match=r"trial\.venv: names the Python, as trial\.python does"):
        spec(python="python3", venv="e")
    with pytest.raises(SpecError, match=r"trial\.dir: must be a path without placeholders"):
        spec(dir="${output}")


def test_the_own_python_stands_for_the_word_python() -> None:
    one = Trial(1, {"x": 0.5})
    assert preview(spec(venv="/e/"), one).command[0] == "/e/bin/python"
    assert preview(spec(python="/p"), one).command[0] == "/p"
    assert preview(spec(python="/p", command=["./train"]), one).command[0] == "./train"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("python train.py", 1),
        ("python3.12 -u -X dev -W error train.py --x", 5 + 1),
        ("/e/bin/python train.py", 1),
        ("bash train.sh", 1),
        ("./train", 0),
        ("train", None),  # somewhere in PATH
        ("python -m train", None),
        ("python -c pass", None),
        ("python", None),
        ("sh -c train", None),
        ("python ${params.x}.py", None),
    ],
)
def test_the_script_of_a_command_is_known_only_where_it_is_sure(
    command: str, word: int | None
) -> None:
    assert script(command.split()) == word


def write(path: Path, made: Spec) -> Path:
    path.write_text(to_yaml(made))
    return path


def test_a_script_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "mine.yaml", spec(final={"command": ["python", "last.py"]}, venv="e"))
    for command in ("validate", "plan", "run", "try"):
        assert main.main([command, str(file)]) == 2
        assert capsys.readouterr().err.splitlines() == [
            f"{file}: trial.venv: must have a Python, there is no {tmp_path}/e/bin/python",
            f"{file}: trial.command.1: must be a file in {tmp_path}, where its trials run "
            "(trial.dir), got train.py",
            f"{file}: final.trial.venv: must have a Python, there is no {tmp_path}/e/bin/python",
            f"{file}: final.trial.command.1: must be a file in {tmp_path}, where its trials run "
            "(final.trial.dir), got last.py",
        ]
    for name in ("train.py", "last.py", "e/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert main.main(["validate", str(file)]) == 0


def test_what_another_machine_has_is_not_judged_here(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", spec(dir="/not/on/this/machine", venv="/nor/this"))
    assert main.main(["validate", str(file)]) == 0


def test_the_installations_own_files_run_where_its_trials_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, own = tmp_path / "work", tmp_path / "experiments"
    for folder in (work, own):
        folder.mkdir()
    (work / "train.py").touch()
    file = write(own / "mine.yaml", spec())
    monkeypatch.setenv("HPO_TRIAL_DIR", str(work))
    assert main.main(["validate", str(file)]) == 2, "elsewhere it is a file like any other"
    monkeypatch.setenv("HPO_EXPERIMENTS", str(own))
    assert main.main(["validate", str(file)]) == 0
    capsys.readouterr()
    assert main.main(["plan", str(file)]) == 0
    assert "runs in" not in capsys.readouterr().out


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder where local trials run, with a link out and an environment's python."""
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (work / "out").symlink_to(tmp_path / "elsewhere")
    (work / "e" / "bin").mkdir(parents=True)
    (work / "e" / "bin" / "python").symlink_to("/usr/bin/env")
    return work


@pytest.mark.parametrize(
    ("name", "path", "may"),
    [
        ("dir", "sub", True),
        ("dir", ".", True),
        ("dir", "..", False),
        ("dir", "sub/../..", False),
        ("dir", "out", False),  # a link out
        ("dir", "out/..", False),
        ("dir", "/", False),
        ("dir", "{tmp}/workshop", False),
        ("dir", "{tmp}/elsewhere", False),
        ("venv", "e", True),
        ("venv", "out/e", False),
        ("python", "e/bin/python", True),  # itself a link out, as in any environment
        ("python", "python3.12", True),  # a program of the PATH, as in a command
        ("python", "out/python", False),
        ("python", "e/..", True),
        ("python", "..", True),  # the name of a program, which will not be found
        ("python", "../..", False),
        ("python", "/usr/bin/python3", False),
    ],
)
def test_a_conf_stays_in_the_installations_folders(
    work: Path, name: str, path: str, may: bool
) -> None:
    backend = LocalBackend(work.parent / "home", work)
    conf = spec(**{name: path.format(tmp=work.parent)})
    if may:
        backend.permit(conf.trial)
        return
    with pytest.raises(SpecError, match=rf"trial\.{name}: must lie below {work} in this install"):
        backend.permit(conf.trial)


def test_an_operator_names_further_folders(work: Path) -> None:
    said = {"HPO_TRIAL_DIR": str(work), "HPO_TRIAL_ROOTS": f"{work.parent}/elsewhere:/opt"}
    installation = installation_of(Environment(work, variables=said))
    for path in ("out", f"{work.parent}/elsewhere/deeper", "/opt/x"):
        admission.validate(spec(dir=path).dump(), installation, backend="local")
    with pytest.raises(SpecError) as caught:
        admission.validate(spec(dir="/optional").dump(), installation, backend="local")
    assert str(caught.value) == (
        f"trial.dir: must lie below {work}, {work.parent}/elsewhere, /opt in this installation, "
        "got /optional; its operator can name other folders in HPO_TRIAL_ROOTS"
    )


def test_data_to_reuse_are_looked_for_beside_the_own_script_first(tmp_path: Path) -> None:
    made = load(spec(dir="own").dump() | {"reuse": {"data": ["x.csv"], "code": ["x.csv"]}})
    inputs = Inputs([tmp_path])
    (tmp_path / "own").mkdir()
    (tmp_path / "x.csv").write_text("common")
    common, _ = fingerprint.take(made, inputs)
    (tmp_path / "own" / "x.csv").write_text("own")
    own, _ = fingerprint.take(made, inputs)
    assert None not in (common, own)
    assert common != own
