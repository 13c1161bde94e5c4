"""Imported by every Airflow process: here is what only one of them should do.

The API server looks for a server of logs whenever somebody looks at a running task. Where there is
none, as in an Airflow of `hpo up`, it says so in the log that it shows; its own log has a line for
each look, and would have a traceback.
"""

from __future__ import annotations

import logging
import sys


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


if "api-server" in sys.argv:
    logging.getLogger("airflow.utils.log.file_task_handler").addFilter(_without_traceback)
