"""A backend of an operator's own, in a folder of its own: processes that give way to all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field

from hpo_lib.backends import Request, Site
from hpo_lib.backends.local import LocalBackend
from hpo_lib.validation import Strict


class NiceRules(Strict):
    """What the section `nice` of config/deployment.yaml says."""

    level: int = Field(default=10, ge=1, le=19)


@dataclass(frozen=True)
class NiceBackend(LocalBackend):
    """Runs what the local backend runs, under `nice`."""

    level: int = 10

    @classmethod
    def at(cls, site: Site) -> Self:
        """Build it with the level that the operator has chosen."""
        rules = site.rules("nice", NiceRules)
        return dataclasses.replace(super().at(site), level=rules.level)

    def submit(self, handle: Mapping[str, Any], request: Request) -> None:
        """Start the program through `nice`."""
        command = ["nice", "-n", str(self.level), *request.command]
        super().submit(handle, dataclasses.replace(request, command=command))
