"""The gate's verdict, as it is kept with a model: reader and writer of the stored form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to promote, and why, in sentences; `broken` has a sentence per broken guard.

    `asks`: not to be promoted unless people approve, for the evidence is too little otherwise.
    `improvement` is positive where the challenger is better, whatever the direction; `error` is
    its standard error. Both are None where nothing could be compared.
    """

    promote: bool
    reason: str
    improvement: float | None = None
    error: float | None = None
    broken: Sequence[str] = ()
    asks: bool = False

    @property
    def promising(self) -> bool:
        """Say whether it may come to a promotion, unasked or by people."""
        return self.promote or self.asks

    def dump(self) -> dict[str, Any]:
        """Give the plain form; what former versions do not know only where it says something."""
        plain = asdict(self) | {"broken": list(self.broken)}
        if not self.asks:
            del plain["asks"]
        return plain

    @classmethod
    def read(cls, plain: object) -> Verdict | None:
        """Read the plain form, None if it does not say whether to promote."""
        if not isinstance(plain, Mapping) or "promote" not in plain:
            return None
        broken = plain.get("broken")
        return cls(
            promote=bool(plain["promote"]),
            reason=str(plain.get("reason") or ""),
            improvement=_number(plain.get("improvement")),
            error=_number(plain.get("error")),
            broken=tuple(map(str, broken)) if isinstance(broken, list | tuple) else (),
            asks=plain.get("asks") is True,
        )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None
