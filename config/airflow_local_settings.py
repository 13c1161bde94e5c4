"""Imported by every Airflow process: here is what only the scheduler should do.

Under LocalExecutor, tasks are forked from the scheduler and need not import again what it has
imported: that would cost every control task seconds of CPU time.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

_PRELOADED = ("hpo_lib.runs.lifecycle", "hpo_lib.trials.runner", "hpo_lib.store", "hpo_lib.report")
_PRELOADED += (
    "hpo_lib.samplers.bayesian",
    "hpo_lib.backends.local",
    "plotly.offline",
    "psutil",
    "skopt.learning",
)

if "scheduler" in sys.argv:
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
