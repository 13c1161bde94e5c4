"""A run from conf to report: the functions that Airflow's tasks call."""
