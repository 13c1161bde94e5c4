"""The peer of the overhead benchmark: a plain DAG whose trials only sleep 0 seconds."""

from __future__ import annotations

import time

from airflow.sdk import DAG, TaskGroup, task

WAVES, PARALLEL = 10, 4

with DAG("plain", schedule=None, catchup=False):

    @task
    def validate() -> None:
        """Do nothing."""

    @task(trigger_rule="all_done")
    def report() -> None:
        """Do nothing."""

    before = validate()
    for wave in range(1, WAVES + 1):
        with TaskGroup(f"wave_{wave:02d}"):

            @task(trigger_rule="all_done")
            def suggest() -> list[int]:
                """Ask for as many trials as a wave has."""
                return list(range(PARALLEL))

            @task
            def trial(number: int) -> int:
                """Sleep for no time."""
                time.sleep(0)
                return number

            asked = suggest()
            before >> asked
            before = trial.expand(number=asked)
    before >> report()
