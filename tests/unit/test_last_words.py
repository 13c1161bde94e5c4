"""The line of a log that says why a trial failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_lib.collectors import Source
from hpo_lib.core.ending import Ending, Exit
from hpo_lib.core.trial import Cause
from hpo_lib.spec import load
from hpo_lib.trials.last_words import last_words
from hpo_lib.trials.outcome import outcome
from tests.unit.factories import LOG, SPEC

NOT_THERE = "python: can't open file '/srv/churn.py': [Errno 2] No such file or directory"
ARGPARSE = "train.py: error: unrecognized arguments: --lr=0.01"
LOGS = {
    "no script": (f"{NOT_THERE}\n", NOT_THERE),
    "no command": ("sh: 1: pyton: not found\n", "sh: 1: pyton: not found"),
    "argparse": (f"usage: train.py [-h] --rate RATE\n{ARGPARSE}\n", ARGPARSE),
    "a traceback": (LOG, LOG.splitlines()[-1]),
    "what follows a traceback": (f"{LOG}saved 3 files\nbye\n", LOG.splitlines()[-1]),
    "the last of two": ("OSError: a\nretry\nKeyError: 'b'\n", "KeyError: 'b'"),
    "colours": ("\x1b[31mRuntimeError: no GPU\x1b[0m\n", "RuntimeError: no GPU"),
    "a bar": ("10%|#   |\r50%|##  |\rValueError: x\n", "ValueError: x"),
    "its own words": (
        "reading rows\nthe file has 3 columns, not 4\n",
        "the file has 3 columns, not 4",
    ),
    "a metric is none": ("val_error=0.25\nloss: 0.5\n", ""),
    "nor does it hide one": ("fatal: no rows\nval_error: 0.25\n", "fatal: no rows"),
    "nothing": ("\n \n", ""),
}


@pytest.mark.parametrize("case", LOGS)
def test_the_telling_line_is_found(case: str) -> None:
    log, words = LOGS[case]
    assert last_words(log) == words


@given(st.text(max_size=2_000))
def test_it_is_one_short_line_that_can_be_shown(log: str) -> None:
    words = last_words(log)
    assert len(words) <= 160
    assert words == "" or words.isprintable()


def test_the_reason_of_a_failed_trial_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"{NOT_THERE}\n")
    source = Source(log=tmp_path / "log.txt", output=tmp_path)
    found = outcome(load(SPEC), Exit(Ending.EXITED, 2), source)
    assert (found.cause, found.reason) == (Cause.USER_ERROR, f"exit code 2: {NOT_THERE}")
