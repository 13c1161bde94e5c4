"""Imported by every Airflow process: here is what only the scheduler should do.

Under LocalExecutor tasks are forked from the scheduler, so what it has imported they need not
import again: a control task would otherwise spend seconds of CPU time on it, each time.
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
