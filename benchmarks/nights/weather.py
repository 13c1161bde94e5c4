"""What befalls a night: crashes, hiccups and outages, at the calls that it makes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from hpo_lib.errors import TransientError
from hpo_lib.store.models import Models

T = TypeVar("T")
#: The steps of a night, and about how many calls each makes.
STEPS = {"begin": 6, "search": 130, "final": 140, "gate": 36, "report": 24, "deploy": 16}
#: How many calls of a night something happens at.
MOMENTS = 3


class Fault(StrEnum):
    """What happens to a night.

    After a CRASH or a HICCUP its step is repeated; one that is KILLED does nothing any more.
    """

    NOTHING = "nothing"
    CRASH = "crash"
    HICCUP = "hiccup"
    KILLED = "killed"
    STORE_DOWN = "store down"
    S3_DOWN = "S3 down"
    ALL_FAILED = "all trials failed"
    OVERLAP = "overlap"


#: After these a night has to end as if nothing had happened.
HARMLESS = (Fault.NOTHING, Fault.CRASH, Fault.HICCUP)
_OUTAGES = {Fault.STORE_DOWN: ("store",), Fault.S3_DOWN: ("artifacts", "deployer")}


class Crashed(BaseException):
    """The night's process has died: no handler of its own sees this."""


@dataclass
class Weather:
    """What befalls a night's calls: at some of them, or from the first of those on."""

    fault: Fault = Fault.NOTHING
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    step: str = "begin"

    def __post_init__(self) -> None:
        """Draw the steps, and the calls in them, at which something happens: before or after."""
        steps = [self.draw.choice(list(STEPS)) for _ in range(MOMENTS)]
        self.moments = {
            (step, self.draw.randint(1, STEPS[step])): self.draw.random() < 0.5 for step in steps
        }
        self.calls: Counter[str] = Counter()
        self.begun = False

    def around(self, place: str, call: Callable[[], T]) -> T:
        """Let a call through, or not, or lose its answer."""
        self.calls[self.step] += 1
        moment = self.step, self.calls[self.step]
        now = moment in self.moments
        dead, self.begun = self.begun and self.fault is Fault.KILLED, self.begun or now
        if self.begun and place in _OUTAGES.get(self.fault, ()):
            raise TransientError(f"{place} is down")
        if now and self.fault is Fault.HICCUP:
            raise TransientError(f"{place} does not answer")
        dies = now and self.fault in (Fault.CRASH, Fault.KILLED)
        if dead or (dies and not self.moments[moment]):
            raise Crashed
        answer = call()
        if dies:
            raise Crashed
        return answer


class Exposed:
    """Something whose methods are called through the weather."""

    def __init__(self, target: object, place: str, weather: Weather) -> None:
        """Wrap."""
        self._target, self._place, self._weather = target, place, weather

    def __getattr__(self, name: str) -> Any:
        """Give a method that may not answer, or a part that is exposed as well."""
        found = getattr(self._target, name)
        if isinstance(found, Models):
            return Exposed(found, self._place, self._weather)
        if not callable(found):
            return found
        return lambda *args, **named: self._weather.around(
            self._place, lambda: found(*args, **named)
        )
