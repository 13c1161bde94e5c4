"""Hyperparameter tuning on Apache Airflow: the library, free of Airflow itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_lib.optimizer import Optimizer

__version__ = "0.1.0"
__all__ = ["Optimizer", "__version__"]


def __getattr__(name: str) -> Any:
    """Import Optimizer only when asked for, so that a trial can import `hpo_lib.runtime` alone."""
    if name == "Optimizer":
        from hpo_lib.optimizer import Optimizer

        return Optimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
