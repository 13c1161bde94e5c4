"""When a parameter is active."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import field_validator

from hpo_lib.core.values import Told, told_apart
from hpo_lib.validation import Choice, Strict, rule, shown

When = Mapping[str, list[Choice]]


class Conditional(Strict):
    """A parameter that may depend on the values of others."""

    when: When | None = None

    @field_validator("when")
    @classmethod
    def _not_empty(cls, when: When | None) -> When | None:
        if when is None:
            return None
        if not when or not all(when.values()):
            raise rule(f"when must name a parameter and at least one value, got {shown(when)}")
        return when

    @cached_property
    def conditions(self) -> Mapping[str, frozenset[Told]]:
        """The values, told apart, of the parameters on which this one depends, by their names."""
        return {name: frozenset(map(told_apart, them)) for name, them in (self.when or {}).items()}
