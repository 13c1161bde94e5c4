"""A running trial that reports: who looks after it has the run's scheduler judge those that run."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpo_lib.records import Attempt
from hpo_lib.search import engine
from hpo_lib.search.scheduling import watches
from hpo_lib.spec import Spec
from hpo_lib.store import Store

#: How often it looks for new reports; what they say is then at most some seconds old.
_LOOK_S, _NEVER_S = 2.0, 5.0


@dataclass
class Judging:
    """Asks the scheduler, if it watches trials, whenever one attempt has reported anew.

    Slots ask only when they are free; so that a hopeless trial is stopped meanwhile, each trial
    that runs looks after itself.
    """

    store: Store
    attempt: Attempt
    spec: Spec
    pause_s: float = field(init=False)
    _seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Look up whether there is anything to ask."""
        self._watches = watches(self.spec)
        self.pause_s = _LOOK_S if self._watches else _NEVER_S

    def look(self) -> None:
        """Ask, if there are new reports, and keep which trials are to stop."""
        if not self._watches:
            return
        told = self.store.live.told(self.attempt.id)
        if told != self._seen:
            self._seen = told
            self.store.slots.judge(self.attempt.run_id, engine.judge_running)
