"""No test changes the clock of all threads: others' would sleep for nothing, or hardly at all."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests import clocks

#: `setattr(runner.time, "sleep", …)`, `setattr(time, "sleep", …)`, `setattr("a.b.time.sleep", …)`.
_FOR_ALL = re.compile(r"""(setattr|patch|object)\(\s*([\w.]*\btime,|["'][\w.]*\btime\.\w+["'])""")


def test_one_module_has_another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    module, own = ModuleType("module"), time.sleep
    module.time = time  # type: ignore[attr-defined]
    clocks.give(monkeypatch, module, sleep=str)
    assert (module.time.sleep, time.sleep) == (str, own)
    assert module.time.monotonic is time.monotonic


def test_no_test_changes_it_for_all() -> None:
    files = set(Path(__file__).parents[1].rglob("test_*.py")) - {Path(__file__)}
    found = [path.name for path in files if _FOR_ALL.search(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("code", ['setattr(a.time, "sleep", f)', 'setattr("a.time.sleep", f)'])
def test_such_a_change_would_be_seen(code: str) -> None:
    assert _FOR_ALL.search(code)
