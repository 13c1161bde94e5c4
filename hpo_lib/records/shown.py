"""What a running attempt has shown last, and how that is said on a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo_lib.core.trial import Observation
from hpo_lib.words import number

#: So many metrics are said.
_SAID = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """The newest value of each metric, and the step of the newest value that has one."""

    values: Mapping[str, float]
    step: int | None = None

    @classmethod
    def of(cls, series: Iterable[Observation]) -> Shown:
        """Take the last values of a series."""
        values: dict[str, float] = {}
        step = None
        for seen in series:
            values[seen.metric] = seen.value
            step = step if seen.step is None else seen.step
        return cls(values, step)

    def line(self, first: Sequence[str], most: int = _SAID) -> str:
        """Say up to so many metrics, some of them first: `val_loss 0.31, loss 0.2 at step 3`."""
        names = [name for name in first if name in self.values]
        names += [name for name in self.values if name not in first]
        said = ", ".join(f"{name} {number(self.values[name])}" for name in names[:most])
        return said if self.step is None else f"{said} at step {self.step}"


NOTHING_SHOWN = Shown({})
