"""The peer of the benchmark of long runs: Airflow's own mapped tasks, which do nothing."""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task

for name, parallel in (("bare", 10), ("bare_one", 1)):
    with DAG(name, schedule=None, catchup=False):

        @task
        def suggest() -> list[int]:
            """Give as many numbers as the conf asks for."""
            return list(range(get_current_context()["dag_run"].conf["tasks"]))

        @task(max_active_tis_per_dagrun=parallel)
        def trial(number: int) -> int:
            """Do nothing."""
            return number

        trial.expand(number=suggest())
