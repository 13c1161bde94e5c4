"""Checkpoints by folders: whole or not there, the newest two stay, the next attempt finds them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import trial_environment
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_lib import runtime
from hpo_lib.runtime import checkpoints

ROOT = Path(__file__).parents[2]
Begin = Callable[..., Path]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Begin an attempt of a number, which goes on from another; gives its output."""

    def attempt(number: int, before: str | Path | None = None) -> Path:
        output = tmp_path / str(number)
        monkeypatch.setenv("HPO_OUTPUT", str(output))
        monkeypatch.delenv("HPO_RESUME_FROM", raising=False)
        if before is not None:
            monkeypatch.setenv("HPO_RESUME_FROM", str(before))
        return output

    return attempt


def save(step: int, content: str = "", **settings: int) -> None:
    with checkpoints.saving(step, **settings) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "state").write_text(content or f"state {step}")


def state(found: checkpoints.Checkpoint | None) -> tuple[int, str] | None:
    return found and (found.step, (found.folder / "sub" / "state").read_text())


def steps(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoint" / "training").iterdir())


def test_without_one_a_training_begins_anew(begin: Begin, tmp_path: Path) -> None:
    begin(1)
    assert checkpoints.newest() is None
    begin(2, before=tmp_path / "1")
    assert checkpoints.newest() is None


def test_the_newest_two_stay_and_the_newest_is_found(begin: Begin) -> None:
    output = begin(1)
    for step in (1, 2, 3):
        save(step)
    assert steps(output) == ["00000002", "00000003"]
    assert state(checkpoints.newest()) == (3, "state 3")


def test_the_next_attempt_has_it_in_its_own_folder(begin: Begin) -> None:
    first = begin(1)
    save(7)
    second = begin(2, before=first)
    assert state(checkpoints.newest()) == (7, "state 7")
    shutil.rmtree(first)
    begin(3, before=second)
    assert state(checkpoints.newest()) == (7, "state 7")


def test_what_fails_while_it_is_saved_leaves_the_one_before(begin: Begin) -> None:
    output = begin(1)
    save(1)
    with pytest.raises(OSError, match="no space"), checkpoints.saving(2) as folder:  # noqa: PT012
        (folder / "state").write_text("half")
        raise OSError("no space")
    assert steps(output) == ["00000001"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda folder: (folder / "sub" / "state").write_text("st"),
    "changed": lambda folder: (folder / "sub" / "state").write_text("STATE 2"),
    "a file is missing": lambda folder: (folder / "sub" / "state").unlink(),
    "no manifest": lambda folder: (folder / "checkpoint.json").unlink(),
    "half a manifest": lambda folder: (folder / "checkpoint.json").write_text('{"step": 2, "fi'),
    "another manifest": lambda folder: (folder / "checkpoint.json").write_text("[]"),
    "empty": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("own", [True, False])
def test_a_torn_one_falls_back_to_the_one_before(
    begin: Begin, damage: str, own: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    first = begin(1)
    save(1)
    save(2)
    DAMAGES[damage](first / "checkpoint" / "training" / "00000002")
    begin(1 if own else 2, before=None if own else first)
    assert state(checkpoints.newest()) == (1, "state 1")
    assert "The checkpoint of step 2 is not whole" in capsys.readouterr().out
    save(2, "again")
    assert state(checkpoints.newest()) == (2, "again")


@settings(max_examples=25, deadline=None)
@given(deeds=st.lists(st.sampled_from(["save", "kill", "tear", "next"]), max_size=12))
def test_killed_at_any_moment_at_most_one_step_is_lost(
    deeds: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("killed")
    number, whole, done = 1, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_OUTPUT", str(root / "1"))
        for deed in deeds:
            if deed == "save":
                save(done + 1)
                whole, done = done, done + 1
            elif deed == "kill":  # while it saves: its half stays behind
                part = root / str(number) / "checkpoint" / "training" / ".part-4711"
                (part / "sub").mkdir(parents=True, exist_ok=True)
            elif deed == "tear" and done and whole:
                manifest = checkpoints.folder_of(done) / "checkpoint.json"
                manifest.write_text("")
                done, whole = whole, 0
            else:
                patch.setenv("HPO_RESUME_FROM", str(root / str(number)))
                number += 1
                patch.setenv("HPO_OUTPUT", str(root / str(number)))
                whole = 0
            found = checkpoints.newest()
            assert (0 if found is None else found.step) == done


def test_what_was_reported_is_reported_again_but_not_twice(
    begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    first = begin(1)
    runtime.report(None, {"rows": 9})
    runtime.report(1, loss=float("nan"), acc=1)
    save(1)
    runtime.report(2, loss=0.25)  # after it: will be reported by whoever does it again
    begin(2, before=first)
    capsys.readouterr()
    runtime.report(None, {"rows": 9})
    checkpoints.newest()
    checkpoints.newest()
    assert capsys.readouterr().out.splitlines() == ["rows=9", "step=1 loss=nan acc=1"]


def test_trainings_of_a_program_are_told_apart_by_name(begin: Begin) -> None:
    first = begin(1)
    with checkpoints.saving(3, "tuning") as folder:
        (folder / "x").write_text("")
    begin(2, before=first)
    assert checkpoints.newest() is None
    found = checkpoints.newest("tuning")
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize("torn", [False, True])
def test_from_an_object_store_the_newest_whole_one_is_fetched(
    begin: Begin, tmp_path: Path, torn: bool
) -> None:
    first = begin(1)
    save(9)
    save(10)
    store = fsspec.filesystem("memory")
    store.put(str(first), "/bucket/run/1", recursive=True)
    if torn:
        store.pipe_file("/bucket/run/1/checkpoint/training/00000010/sub/state", b"sta")
    output = begin(2, before="memory://bucket/run/1")
    assert state(checkpoints.newest()) == ((9, "state 9") if torn else (10, "state 10"))
    assert len(steps(output)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": -1}, "step must be at least 0, got -1"),
        ({"step": 1, "keep": 0}, "keep must be at least 1, got 0"),
        ({"step": 1, "name": "a/b"}, "name must be a plain name of a folder, got 'a/b'"),
    ],
)
def test_a_wrong_use_is_refused(begin: Begin, arguments: dict[str, object], message: str) -> None:
    begin(1)
    with pytest.raises(ValueError, match=re.escape(message)), checkpoints.saving(**arguments):  # type: ignore[arg-type]
        pass


def example(title: str) -> str:
    """Give the program below a title of docs/resume.md."""
    text = (ROOT / "docs" / "resume.md").read_text(encoding="utf-8")
    found = re.search(rf"### {title}\n.*?```python\n(.*?)```", text, re.DOTALL)
    assert found, title
    return found[1]


KILLED = """
import os, signal
from hpo_lib.runtime import checkpoints
whole, left = checkpoints._complete, [int(os.environ["KILLED_AT"])]


def complete(part, step):
    if left[0] == step:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(part, step)


checkpoints._complete = complete
"""


def metrics(output: Path) -> list[tuple[int, dict[str, float]]]:
    lines = (output / "metrics.jsonl").read_text().splitlines()
    return [(one["step"], one["metrics"]) for one in map(json.loads, lines)]


@pytest.mark.parametrize("title", ["PyTorch", "XGBoost", "NumPy, or anything else"])
def test_the_examples_go_on_to_the_same_end(title: str, tmp_path: Path) -> None:
    if title == "PyTorch" and not trial_environment.has("torch"):
        pytest.skip("PyTorch is not pinned: HPO_TRIAL_PYTHON names a Python that has it")
    program = textwrap.dedent(KILLED) + example(title)

    def run(name: str, killed_at: int, before: str | None = None) -> int:
        env = {"HPO_OUTPUT": str(tmp_path / name), "KILLED_AT": str(killed_at), "HPO_RESOURCE": "6"}
        if before:
            env["HPO_RESUME_FROM"] = str(tmp_path / before)
        done = subprocess.run(
            [trial_environment.python(), "-c", program],
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode in (0, -9), done.stderr[-2_000:]
        return done.returncode

    assert run("whole", 0) == 0
    assert run("first", 3) == -9
    assert run("second", 5, "first") == -9
    assert run("last", 0, "second") == 0
    assert metrics(tmp_path / "last") == metrics(tmp_path / "whole")


def test_the_example_for_pytorch_is_a_program() -> None:
    compile(example("PyTorch"), "docs/resume.md", "exec")


def test_checkpoints_need_the_standard_library_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "from hpo_lib.runtime import checkpoints"],
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
