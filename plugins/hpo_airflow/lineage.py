"""What OpenLineage is told of a trial: the data that it was trained on, and where its model lies.

Only where Airflow's OpenLineage provider is installed does anybody ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hpo_lib.records import attempt_uri

if TYPE_CHECKING:
    from hpo_lib.records import Attempt, Run


def of_trial(task_instance: Any, number: int) -> Any:
    """Give what a trial has read and written, in the provider's words."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    from hpo_airflow.installation import open_store
    from hpo_lib.records import RunKey

    with open_store() as store:
        run = store.run(RunKey(task_instance.dag_id, task_instance.run_id))
        tried = store.attempts(run.id, number)
    read, written = data_of(run), models_of(run, tried[-1] if tried else None)
    return OperatorLineage(
        inputs=[Dataset(*named(place)) for place in read],
        outputs=[Dataset(*named(place)) for place in written],
    )


def data_of(run: Run) -> list[str]:
    """Name the data that a run says it depends on: `reuse.data`."""
    reuse = run.spec.reuse
    return [] if reuse is None else list(reuse.data)


def models_of(run: Run, attempt: Attempt | None) -> list[str]:
    """Name the folder in which an attempt has left its model, as far as that is kept."""
    return [] if attempt is None else list(_folders(run, attempt))


def _folders(run: Run, attempt: Attempt) -> Iterator[str]:
    kept = run.spec.artifacts
    if kept is not None:
        yield attempt_uri(kept.uri, run, attempt.trial, attempt.number)
    elif "folder" in attempt.handle:
        yield f"{attempt.handle['folder']}/output"


def named(place: str) -> tuple[str, str]:
    """Give namespace and name of a place, as OpenLineage writes them."""
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
