"""Hyperparameter tuning on Apache Airflow: the library, free of Airflow itself."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from hpo_lib.frames import results
    from hpo_lib.search.optimizer import Optimizer

__version__ = "0.1.0"
__all__ = ["Optimizer", "__version__", "results"]

#: Former names of modules that docs once named, so that code of users still runs.
_MOVED = {"hpo_lib.trial": "hpo_lib.core.trial"}


def __getattr__(name: str) -> Any:
    """Import the rest only when asked for, so that a trial can import `hpo_lib.runtime` alone."""
    if name == "Optimizer":
        from hpo_lib.search.optimizer import Optimizer

        return Optimizer
    if name == "results":
        from hpo_lib.frames import results

        return results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Moved:
    """Finds and loads a module under its former name: it is the same module."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in _MOVED else None  # type: ignore[arg-type]

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(_MOVED[module.__name__])


sys.meta_path.append(_Moved())
