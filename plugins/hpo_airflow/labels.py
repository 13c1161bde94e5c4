"""How runs and trials are called and described in Airflow's UI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hpo_airflow.markdown import listed, prose
from hpo_lib.words import cut

if TYPE_CHECKING:
    from pathlib import Path

    from hpo_lib.core.trial import Params, Trial
    from hpo_lib.records import Run, RunKey
    from hpo_lib.store import Store

#: The answers to the question whether a challenger is to be deployed.
APPROVE, REJECT = "Approve", "Reject"
_LABEL = 200
#: Airflow keeps so many characters of a label; so many are the name's beside why a trial failed.
_MAX_LABEL, _NAME = 250, 90


def label(number: int, params: Params, resource: float | None = None) -> str:
    """Name a mapped trial for the grid: its number, its parameters, and how far it goes, short."""
    values = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )
    text = f"{number}: {values}" + ("" if resource is None else f" up to {resource:g}")
    return cut(text, _LABEL)


def failed_label(text: str, trial: Trial) -> str:
    """Add to a mapped trial's name why it has failed, as much of both as Airflow keeps."""
    from hpo_lib.core.failures import why

    return running_label(text, why(trial))


def running_label(text: str, said: str) -> str:
    """Add to a mapped trial's name what is said of it, as much of both as Airflow keeps."""
    name = cut(text, _NAME)
    whole = f"{name} · {said}"
    return cut(whole, _MAX_LABEL)


def standing(store: Store, key: RunKey) -> str:
    """Say, in Markdown, how a run stands, or why it was refused."""
    from hpo_lib.cli.progress import line_of
    from hpo_lib.errors import NotFound
    from hpo_lib.records import RunStatus

    with suppress(NotFound):
        run = store.run(key)
        if run.status is RunStatus.REFUSED:
            return refusal(run.reason or "")
    return prose(line_of(store, key, "running"))


def refusal(reason: str) -> str:
    """Say, in Markdown, why a run was refused: an item for each problem."""
    return f"**refused**\n\n{listed(reason)}"


def end_of(run: Run, report: Path) -> str:
    """Say, in Markdown, how a run has ended."""
    return f"**{run.status}**: {prose(run.reason or '')}\n\nReport: `{report}`"
