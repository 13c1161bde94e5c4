"""A running trial that is told to stop: who sees it through asks, and ends it, within seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hpo_lib.backends import Backend
from hpo_lib.core.trial import Cause, Trial
from hpo_lib.records import Attempt, AttemptState, Outcome
from hpo_lib.store import Store
from hpo_lib.trials.judging import Judging


@contextmanager
def ended_when_told(
    store: Store,
    attempt: Attempt,
    backend: Backend,
    emit: Callable[[str], None],
    judging: Judging,
) -> Iterator[None]:
    """Look, while an attempt is seen through, whether its trial is told to stop; end it then.

    What looks after the attempt waits for its end, so another thread does this. It asks the store
    every five seconds, and tries again where store or backend are out of reach. A scheduler that
    watches trials is asked before, when the attempt has reported anew, and every two seconds.
    """
    over = threading.Event()

    def look() -> None:
        while not over.wait(judging.pause_s):
            try:
                judging.look()
                if (why := store.told_to_stop(attempt.run_id, attempt.trial)) is not None:
                    emit(f"trial {attempt.trial} is told to stop: {why}")
                    backend.stop(attempt.handle)
                    return
            except Exception as error:
                emit(f"trial {attempt.trial} cannot be asked for or stopped, yet: {error}")

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def stopped_as_told(store: Store, attempt: Attempt, found: Outcome, why: str) -> Trial:
    """End a trial that was told to stop, and keep what its attempt has shown until then.

    Also if somebody else has closed the attempt meanwhile, and not its trial.
    """
    shown = replace(found, state=AttemptState.FAILED, cause=Cause.STOPPED, reason=why, value=None)
    store.close_attempt(attempt.id, shown, final=True)
    return store.stop_trial(attempt.run_id, attempt.trial, why)
