"""What this project counts and times, for the StatsD or OpenTelemetry that Airflow reports to.

Without one ([metrics] of Airflow's configuration) nothing is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from hpo_lib.core.trial import Trial
    from hpo_lib.records import Run, RunKey
    from hpo_lib.store import Store


def trial_ended(run: Run, trial: Trial, backend: str) -> None:
    """Count a trial by its state and, of a failed one, its cause; and time it."""
    name = ".".join(["hpo.trials", trial.state, *([trial.cause] if trial.cause else [])])
    tags = {"experiment": run.experiment, "backend": backend}
    stats.incr(name, tags=tags)
    if trial.duration_s is not None:
        stats.timing("hpo.trial.duration", trial.duration_s * 1_000, tags=tags)


def trial_waited(assignment: Mapping[str, Any], backend: str) -> None:
    """Time how long a trial has waited for its task to begin, since it was asked for.

    A task that is tried again has waited for something else, too.
    """
    if "asked" not in assignment:
        return
    waited_s = max(time.time() - assignment["asked"], 0.0)
    stats.timing("hpo.trial.waiting", waited_s * 1_000, tags={"backend": backend})


@contextmanager
def suggesting() -> Iterator[None]:
    """Time how long it takes to settle a wave and to ask for the next one."""
    start = time.monotonic()
    yield
    spent_s = time.monotonic() - start
    stats.timing("hpo.suggest.duration", spent_s * 1_000)


def idle(store: Store, key: RunKey, slot: str) -> None:
    """Report which share of the places of a wave, from 0 to 1, nothing has run in."""
    from hpo_lib.trials.idle import idle_share

    view = store.view(store.run(key).id)
    share = idle_share(view, slot)
    if share is not None:
        stats.gauge("hpo.wave.idle_share", share, tags={"experiment": view.run.experiment})
