"""What other people's schedulers train on, and what is made of what they have trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scheduler_peers
from benchmarks.curves import MadeUp, Recorded
from benchmarks.scheduler_peers import PEERS, Peer, Plan, Runs, fingerprint, regrets
from benchmarks.scheduler_peers.desk import IDLE, Desk, Spent
from benchmarks.schedulers import means, table

SPACE = {
    "rate": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log"},
    "depth": {"type": "int", "low": 1, "high": 5},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
}
PARAMS = [
    {"rate": 0.001, "depth": 1, "kind": "a"},
    {"rate": 0.1, "depth": 1, "kind": "a"},
    {"rate": 1.0, "depth": 5, "kind": "b"},
]
LOSS = np.array([[3, 2, 1], [3, 3, 2], [1, 1, 3]], dtype=np.float32)


@pytest.fixture
def problem() -> Recorded:
    return Recorded("small", SPACE, PARAMS, LOSS, np.ones(3, dtype=np.float32))


@pytest.fixture
def file(problem: Recorded, tmp_path: Path) -> Path:
    problem.write(tmp_path / "curves.npz")
    return tmp_path / "curves.npz"


def test_only_new_steps_count(file: Path) -> None:
    desk = Desk(file, 7)
    assert desk.train(0, 2) == 2.0
    assert desk.train(1, 1) == 3.0
    assert desk.train(0, 3) == 1.0, "it goes on"
    assert desk.train(0, 1) == 3.0, "that is known"
    assert (desk.spent, desk.finished) == (4, [(0, 4)])
    with pytest.raises(Spent):
        desk.train(2, 4)


def test_the_nearest_row_is_taken_once_until_all_were(file: Path) -> None:
    desk = Desk(file, 9)
    asked = {"rate": 0.05, "depth": 1, "kind": "a"}
    assert [desk.nearest(asked) for _ in range(4)] == [1, 0, 2, 1]
    assert [desk.row_of(one) for one in PARAMS] == [0, 1, 2]


def test_who_asks_and_never_trains_is_sent_away(file: Path) -> None:
    desk = Desk(file, 9)
    for _ in range(IDLE):
        desk.nearest(PARAMS[0])
    with pytest.raises(Spent):
        desk.nearest(PARAMS[0])


def test_regret_is_of_what_was_finished_by_a_share_and_empty_beyond_a_run(
    problem: Recorded,
) -> None:
    line = {"budget": 75, "finished": [[1, 15], [0, 30]]}
    assert regrets([line], problem) == [1.0, 0.0, 0.0, None]
    assert "| x | 1.00 | 0.00 | 0.00 |  |" in table({"x": regrets([line], problem)})
    assert means([[0.0, 1.0, None], [1.0, 1.0, 1.0]]) == [0.5, 1.0, None]


SCRIPT = """
import sys

sys.path.insert(0, HERE)
from desk import serve


def play(desk, seed, kind):
    print("this is not for the file")
    for row in desk.order(seed):
        desk.train(row, desk.steps)


serve("numpy", play)
"""


def test_runs_are_kept_and_not_done_again(
    problem: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "own.py"
    script.write_text(SCRIPT.replace("HERE", repr(str(scheduler_peers.HERE))))
    monkeypatch.setattr(scheduler_peers, "ENVIRONMENTS", tmp_path)
    own = Peer("own", str(script), "whole")
    monkeypatch.setitem(PEERS, "Own", own)
    file = tmp_path / "runs.jsonl"

    Runs(file).play("Own", problem, Plan(2, 0.02))
    assert not file.exists(), "it is not installed"

    own.python.parent.mkdir(parents=True)
    own.python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    own.python.chmod(0o755)
    for _ in range(2):
        Runs(file).play("Own", problem, Plan(2, 0.02))
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    assert [(one["seed"], one["budget"], one["steps"]) for one in lines] == [(0, 6, 6), (1, 6, 6)]
    assert [steps for _, steps in lines[0]["finished"]] == [3, 6]
    assert Runs(file).of("Own", problem, 2) == lines
    assert Runs(file).missing("Own", problem, Plan(3, 0.02)) == [2]
    assert Runs(file).missing("Own", problem, Plan(1, 0.03)) == [0], "that is a longer run"


def test_a_fingerprint_changes_with_the_curves() -> None:
    first, other = MadeUp(3).recorded(4), MadeUp(3).recorded(4, seed=1)
    assert fingerprint(first) == fingerprint(MadeUp(3).recorded(4)) != fingerprint(other)


def test_each_peer_has_a_script_and_pins() -> None:
    for peer in PEERS.values():
        assert (scheduler_peers.HERE / peer.script).exists()
        assert (scheduler_peers.HERE / "requirements" / f"{peer.environment}.txt").exists()
