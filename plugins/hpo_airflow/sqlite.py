"""How Airflow connects to a database of its own in a file, as under `hpo up`."""

from __future__ import annotations

#: A writer waits so many seconds for another, not five as by default: the API server of Airflow
#: 3.3.2 keeps the others out for as long as it waits for itself, and then its scheduler ends.
PATIENT = {"timeout": 60.0}
