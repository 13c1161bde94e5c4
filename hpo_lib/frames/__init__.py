"""Results as data: trials, observations and models as pandas DataFrames, from any store.

pandas is imported when a frame is made, never before; it comes with the extra `results`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from hpo_lib.errors import NotFound, SpecError, nearest
from hpo_lib.files import shipped
from hpo_lib.frames import made
from hpo_lib.frames.table import needs_pandas
from hpo_lib.records import Looked, RunStatus, RunView
from hpo_lib.store import Store
from hpo_lib.store.listing import Wanted

if TYPE_CHECKING:
    from pandas import DataFrame

#: No store has more of anything.
_ALL = 1_000_000


@dataclass(frozen=True)
class Results:
    """The results of some runs of an experiment, each frame read when it is first asked for.

    docs/results.md lists the columns and their dtypes. A frame is as new as its first use: call
    `results` again for what has come since.
    """

    experiment: str
    runs: tuple[int, ...]
    url: str = field(repr=False)

    @cached_property
    def trials(self) -> DataFrame:
        """The trials of the searches, a row each, by run and number."""
        with Store.open(self.url) as store:
            return made.trials([view_of(store, run) for run in self.runs])

    @cached_property
    def finals(self) -> DataFrame:
        """The trials of final trainings, with the columns of `trials`; `seed` tells them apart."""
        with Store.open(self.url) as store:
            return made.trials([view_of(store, run) for run in self.runs], finals=True)

    @cached_property
    def observations(self) -> DataFrame:
        """All that attempts have reported, in their order; also of those that run."""
        with Store.open(self.url) as store:
            return made.observations((run, store.listing.reported(run)) for run in self.runs)

    @cached_property
    def models(self) -> DataFrame:
        """The models that these runs have made, by version."""
        with Store.open(self.url) as store:
            found = [one for one in store.models.of(self.experiment) if one.run_id in self.runs]
        return made.models(sorted(found, key=lambda one: one.version))


def results(of: str | int, *, store: str | None = None) -> Results:
    """Give the results of an experiment, by its name, or of one run, by its number.

    `store` is the address; without one it is HPO_STORE, or the store that the command `hpo` would
    read here. Refused runs have no results. NotFound; SpecError where no store is named and none is
    here; HpoError without pandas; StoreError, TransientError.

    Example:
        >>> good = hpo_lib.results("churn").trials.query("state == 'complete'")  # doctest: +SKIP
    """
    needs_pandas()
    url = store or _address()
    with Store.open(url) as opened:
        if isinstance(of, int):
            run = opened.run_by_id(of)
            return Results(run.experiment, (run.id,), url)
        return Results(of, tuple(_runs(opened, of)), url)


def view_of(store: Store, number: int) -> RunView:
    """Give a run with its trials and its model, without observations; NotFound."""
    return store.view(number, lambda _: Looked())


def _runs(store: Store, experiment: str) -> list[int]:
    """Number the runs of an experiment that were not refused, the oldest first; NotFound."""
    dags = store.listing.dag_ids()
    found = store.listing.runs(Wanted(dags, experiment), None, _ALL)
    if not found:
        known = [row.name for row in store.listing.experiments(dags, "", _ALL)]
        raise NotFound(f"the store has no experiment {experiment!r}{nearest(experiment, known)}")
    return sorted(run.id for run in found if run.status is not RunStatus.REFUSED)


def _address() -> str:
    """Give the address of the store that HPO_STORE names, or that is here; SpecError."""
    if named := os.environ.get("HPO_STORE"):
        return named
    here = shipped.home() / "hpo.db"
    if not here.exists():
        raise SpecError(
            f"there is no store at {here}: say which by results(…, store=URL), by HPO_STORE, or by "
            "the HPO_HOME or AIRFLOW_HOME of an Airflow on this machine"
        )
    return f"sqlite:///{here}"
