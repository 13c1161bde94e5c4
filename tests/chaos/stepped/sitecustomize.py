"""Loaded by Python itself where the clock can be stepped: `time.sleep` by another call.

libfaketime 0.9.10 refuses the one that Python uses (`clock_nanosleep` until a monotonic time).
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep
