"""CheckpointCallback in real trainings with Keras: resumed, each is bit for bit the uninterrupted.

One process trains all, each training whole and in pieces; those that are killed are forked of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trial_environment

PROGRAM = (Path(__file__).parent / "data" / "resumed_trainings.py").read_text(encoding="utf-8")
WAYS = [
    "adam_noise_normalisation_plateau",
    "sgd_schedule_average_swapped",
    "average_accumulation",
    "stopped_early_files_graph",
    "killed_after_its_end",
    "dataset_repeated",
    "dataset_without_length",
    "generator",
    "py_dataset",
    "several_steps_at_once",
    "callbacks_of_ones_own",
    "torn",
    "rungs",
    "second_training",
]


@dataclass
class Told:
    """What the trainings have come to, and printed."""

    found: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("resumed")
    printed = trial_environment.run(PROGRAM, folder, timeout_s=1800)
    return Told(json.loads((folder / "found.json").read_text()), printed)


def test_all_ways_are_looked_at(told: Told) -> None:
    assert sorted(told.found["ways"]) == sorted(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_training_is_the_uninterrupted_one(told: Told, way: str) -> None:
    found = told.found["ways"][way]
    assert found.pop("resumed"), "it went on from a checkpoint"
    assert {name: same for name, same in found["same"].items() if not same} == {}
    assert {"variables", "history"} <= set(found["same"])


def test_killed_five_times_no_epoch_is_lost(told: Told) -> None:
    found = told.found["killed"]
    assert found["codes"] == [-9] * 5 + [0]
    assert found["same"]
    assert found["reported"] == found["reported_undisturbed"]
    trained = found["trained"]
    assert sorted(set(trained)) == list(range(found["epochs"]))
    assert len(trained) <= found["epochs"] + 5


def test_asked_by_sigterm_it_saves_the_epoch_and_says_that_it_is_cut_short(told: Told) -> None:
    found = told.found["terminated"]
    assert found["codes"] == [143, 0]
    assert found["trained"] == list(range(found["epochs"])), "no epoch is trained twice"
    assert found["same"]
    assert "The training is cut short by SIGTERM: epoch 2 is the last one saved." in told.printed


def test_who_goes_on_from_another_trial_has_its_own_learning_rate(told: Told) -> None:
    parent, heir = [0.25, 0.125], [0.375, 0.375]
    assert told.found["rates"] == [*parent, *heir], "halved after the first epoch, by the parent"


def test_what_cannot_be_exact_is_said(told: Told) -> None:
    assert "Odd.queue of a callback is not carried into a resumed training" in told.printed
    assert "data are shuffled without a seed" in told.found["unseeded"]
    assert "several threads" not in told.printed


def test_the_newest_two_checkpoints_stay(told: Told) -> None:
    assert told.found["kept"] == ["00000002", "00000003"]


def test_another_models_checkpoint_is_refused(told: Told) -> None:
    assert told.found["refused"].startswith("the checkpoint must be of this model: ")
    assert told.found["refused"].endswith("/dense/kernel has the shape (6, 9), got (6, 5)")


def test_outside_of_fit_it_is_refused(told: Told) -> None:
    assert told.found["outside"].startswith("CheckpointCallback must be called by model.fit")


@pytest.mark.parametrize("kind", ["plain", "nested", "arrays"])
def test_what_callbacks_keep_is_read_as_it_was_written(told: Told, kind: str) -> None:
    written, read = told.found["kinds"][kind]
    assert read == written
