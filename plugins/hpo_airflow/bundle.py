"""The DAG files that come with this package, as a bundle of Airflow's.

dag_bundle_config_list = [
    {"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
     "kwargs": {}},
    {"name": "hpo", "classpath": "hpo_airflow.bundle.HpoDagBundle", "kwargs": {}}]
"""

from __future__ import annotations

from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle

from hpo_lib.files import shipped


class HpoDagBundle(LocalDagBundle):
    """The folder of this version's DAG files: an update of the package updates them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(shipped.folder() / "dags"), **kwargs)
