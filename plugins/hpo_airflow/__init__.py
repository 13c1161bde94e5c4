"""Everything that imports Airflow: DAG factory, tasks and operators around hpo_lib."""
