"""What Airflow lists of this package among its providers."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the package by the names that Airflow's schema of providers has."""
    return {
        "package-name": "hpo-lib",
        "name": "HPO",
        "description": "Hyperparameter tuning with trials that Airflow schedules.",
        "connection-types": [
            {
                "connection-type": "hpo_store",
                "hook-class-name": "hpo_airflow.store_hook.StoreHook",
                "hook-name": "HPO store",
            }
        ],
    }
