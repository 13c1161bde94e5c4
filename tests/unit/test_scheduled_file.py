"""Files that ask for a DAG: which they are, what they are called, and how a broken one is told."""

from __future__ import annotations

import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import factories
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.runs.scheduled_files import (
    MAX_WAVES,
    PREFIX,
    ScheduledFile,
    dag_id_of,
    scheduled_files,
    strayed,
)
from hpo_lib.spec import load

NIGHTLY = {"cron": "0 3 * * *"}
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write a file into the folder of experiments: a spec with changes, or a text."""

    def write(name: str, text: str | None = None, **changes: Any) -> Path:
        path = tmp_path / name
        spec = factories.SPEC | {"schedule": NIGHTLY} | changes
        path.write_text(yaml.safe_dump(spec) if text is None else text)
        return path

    return write


def by_id(folder: Path, dag_id: str | None = None) -> dict[str, ScheduledFile]:
    return {one.dag_id.removeprefix(PREFIX): one for one in scheduled_files(folder, dag_id)}


def test_a_file_with_a_schedule_gets_a_dag_and_one_without_gets_none(
    put: Put, tmp_path: Path
) -> None:
    put("nightly.yaml")
    put("by-hand.yaml", yaml.safe_dump(factories.SPEC))
    for other in (".hidden.yaml", "nightly.yaml~", "notes.md"):
        put(other, "[")
    (tmp_path / "folder.yaml").mkdir()
    found = by_id(tmp_path)
    assert list(found) == ["nightly"]
    assert found["nightly"].spec == load(factories.SPEC | {"schedule": NIGHTLY})
    assert found["nightly"].waves == 6


BROKEN = {
    "no YAML": ("name: [", "spec: must be YAML: "),
    "empty": ("", "spec: must be a mapping, got null"),
    "a key": ("shedule: {}", "spec: unknown key \"shedule\", did you mean 'schedule'?"),
    "an alias": ("a: &x {}\nb: *x", "spec: must be YAML: aliases are not allowed"),
    "deep": ("[" * 5_000, "spec: must be nested at most 64 deep"),
    "huge": ("x" * 300_000, "spec: must be at most 262,144 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_told_and_leaves_the_others_alone(
    put: Put, tmp_path: Path, case: str
) -> None:
    text, message = BROKEN[case]
    put("a.yaml", text)
    put("b.yaml")
    found = by_id(tmp_path)
    assert found["a"].spec is None
    assert found["a"].error.startswith(message)
    assert found["b"].error == ""


def test_what_is_no_file_of_text_is_told(put: Put, tmp_path: Path) -> None:
    put("b.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\x7fELF\xff")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    found = by_id(tmp_path)
    assert found["binary"].error == "spec: must be a text file in UTF-8"
    assert found["gone"].error == found["pipe"].error == "must be a file that can be read"
    assert found["b"].spec is not None


def test_two_files_that_ask_for_one_dag_are_both_told(put: Put, tmp_path: Path) -> None:
    put("a.yaml")
    put("a.yml")
    assert by_id(tmp_path)["a"].error == (
        "a.yaml and a.yml ask for one DAG, hpo_scheduled_a: rename one of them"
    )


def test_files_of_one_experiment_have_dags_of_their_own(put: Put, tmp_path: Path) -> None:
    put("nightly.yaml")
    put("weekly.yaml", schedule={"cron": "0 3 * * sun"})
    assert {one.spec.name for one in scheduled_files(tmp_path) if one.spec} == {"wine-quality"}
    assert list(by_id(tmp_path)) == ["nightly", "weekly"]


def test_a_file_of_many_waves_or_none_has_slots(put: Put, tmp_path: Path) -> None:
    put("most.yaml", limits={"max_trials": MAX_WAVES})
    put("more.yaml", limits={"max_trials": MAX_WAVES + 1})
    put("without.yaml", mode="async")
    put("chosen_later.yaml", mode="auto")
    waves = {name: one.waves for name, one in by_id(tmp_path).items()}
    assert waves == {"most": MAX_WAVES, "more": None, "without": None, "chosen_later": None}


def test_only_the_file_of_the_wanted_dag_is_read(put: Put, tmp_path: Path) -> None:
    put("a.yaml")
    put("b.yaml", "[")
    assert list(by_id(tmp_path, "hpo_scheduled_a")) == ["a"]
    assert list(by_id(tmp_path, "hpo_scheduled_c")) == []


_ALLOWED = set(string.ascii_letters + string.digits + "_-")


@given(st.lists(st.text(min_size=1).filter(lambda text: "/" not in text), unique=True))
def test_every_name_of_a_file_makes_a_dag_id_of_its_own(stems: list[str]) -> None:
    ids = [dag_id_of(Path(f"{stem}.yaml")) for stem in stems]
    assert len(set(ids)) == len({Path(f"{stem}.yaml").stem for stem in stems})
    assert all(set(one) <= _ALLOWED and len(one) < 250 for one in ids)


def test_a_name_that_does_not_fit_is_told(put: Put, tmp_path: Path) -> None:
    put("my file.yaml")
    (found,) = scheduled_files(tmp_path)
    assert found.error.startswith("the file's name must be letters, digits, _ and -")


def test_a_run_that_its_dag_cannot_see_through_is_told_why() -> None:
    def file(**changes: Any) -> ScheduledFile:
        spec = load(factories.SPEC | {"schedule": NIGHTLY} | changes)
        return ScheduledFile("hpo_scheduled_a", "a.yaml", spec)

    run = factories.run()
    assert strayed(run, file()) is None
    assert strayed(run, file(limits={"max_trials": 100})) is None
    shorter = strayed(run, file(limits={"max_trials": 3, "parallel_trials": 3}))
    assert shorter == (
        "a.yaml was changed while it ran, its DAG has 1 waves by now, and this run needs 6"
    )
    elsewhere = strayed(run, file(trial={"backend": "docker", "image": "i"}))
    assert elsewhere == "a.yaml was changed to backend docker while it ran on local"
    assert strayed(run, file().broken("no YAML")) == (
        "a.yaml has become unreadable while it ran: no YAML"
    )
