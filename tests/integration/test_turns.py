"""Slots of a host that ask in turn: one at a time, past whoever is killed or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hpo_lib.runs.turns import in_turn

#: Takes a turn and says so; then stays until it is killed.
HOLDS = """
import sys, time
from pathlib import Path
from hpo_lib.runs.turns import in_turn
with in_turn(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""
#: Adds 1 to a number in a file, not safely by itself, so many times.
COUNTS = """
import sys, time
from pathlib import Path
from hpo_lib.runs.turns import in_turn
number = Path(sys.argv[2])
for _ in range(50):
    with in_turn(Path(sys.argv[1])):
        found = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(found + 1))
"""


def holder(file: Path) -> subprocess.Popen[str]:
    held = subprocess.Popen([sys.executable, "-c", HOLDS, file], stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "mine\n"
    return held


def test_one_at_a_time(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    command = [sys.executable, "-c", COUNTS, tmp_path / "asking" / "1", number]
    counting = [subprocess.Popen(command) for _ in range(4)]
    assert [one.wait(120) for one in counting] == [0] * 4
    assert number.read_text() == "200"


def test_a_turn_ends_with_who_has_it(tmp_path: Path) -> None:
    held = holder(tmp_path / "1")
    began = time.monotonic()
    held.kill()
    with in_turn(tmp_path / "1", patience_s=600):
        assert time.monotonic() - began < 60
    held.wait(60)


def test_nobody_waits_for_ever_for_one_that_hangs(tmp_path: Path) -> None:
    held = holder(tmp_path / "1")
    os.kill(held.pid, signal.SIGSTOP)
    began = time.monotonic()
    with in_turn(tmp_path / "1", patience_s=0.3):
        assert time.monotonic() - began > 0.25
    held.kill()
    held.wait(60)


def test_where_no_file_can_be_made_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    began = time.monotonic()
    with in_turn(tmp_path / "file" / "1", patience_s=600), in_turn(tmp_path / "file" / "1"):
        assert time.monotonic() - began < 60


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "1").symlink_to(tmp_path / "elsewhere")
    with in_turn(tmp_path / "1", patience_s=600):
        assert not (tmp_path / "elsewhere").exists()
