"""Imported by every Airflow process: here is what only one of them should do.

Under LocalExecutor, tasks are forked from the scheduler and need not import again what it has
imported: that would cost every control task seconds of CPU time.

The API server looks for a server of logs whenever somebody looks at a running task. Where there is
none, as in an Airflow of `hpo up`, it says so in the log that it shows; its own log has a line for
each look, and would have a traceback.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys

_PRELOADED = ("hpo_lib.runs.lifecycle", "hpo_lib.trials.runner", "hpo_lib.store", "hpo_lib.report")
_PRELOADED += (
    "hpo_lib.samplers.bayesian",
    "hpo_lib.backends.local",
    "plotly.offline",
    "psutil",
    "skopt.learning",
)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


if "api-server" in sys.argv:
    logging.getLogger("airflow.utils.log.file_task_handler").addFilter(_without_traceback)

if "scheduler" in sys.argv:
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
