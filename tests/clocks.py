"""Another clock for one module: a test that patches `time` itself changes it for all threads."""

from __future__ import annotations

import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def give(monkeypatch: pytest.MonkeyPatch, module: ModuleType, **functions: Any) -> None:
    """Have a module that says `import time` call these in the place of time's own."""
    monkeypatch.setattr(module, "time", SimpleNamespace(**(vars(time) | functions)))
