"""The report of a run that goes on, written anew now and then as its trials end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hpo_airflow.installation import this_installation

if TYPE_CHECKING:
    from hpo_lib.records import Run
    from hpo_lib.store import Store

log = logging.getLogger(__name__)


def refresh(store: Store, run: Run) -> None:
    """Write the report, if that is due; whatever goes wrong with that is logged and no more."""
    from hpo_lib.runs import outputs

    try:
        outputs.refresh_report(store, run, this_installation(run.team))
    except Exception:
        log.exception("the report cannot be written now; the end of a later trial tries again")
