"""The peers of the overhead benchmark: a plain DAG whose trials only sleep 0 seconds, and ours
with no more waves than that one has."""

from __future__ import annotations

import time

from airflow.sdk import DAG, TaskGroup, task

from hpo_airflow.dag_factory import conf_triggered

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

same_shape = conf_triggered("hpo_local_10", backend="local", example={}, waves=WAVES)
