"""Faults at random on a real Airflow, from a seed; after each round nothing may be lost or twice.

`make chaos` runs it; docs/chaos.md says what it does and what it has found.
"""
