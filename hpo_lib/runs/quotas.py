"""Whether a team has used up its GPU hours of a month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo_lib.installation import Installation
from hpo_lib.spec import Spec

if TYPE_CHECKING:
    from hpo_lib.store import Store


def spent(store: Store, spec: Spec, installation: Installation) -> str | None:
    """Say so if a trial would need a GPU, and its team has used up the hours of this month."""
    quota = installation.may.quotas.gpu_hours
    if quota is None or not spec.trial.resources.gpu:
        return None
    used = store.gpu_hours(installation.team)
    if used < quota:
        return None
    team = installation.team
    return (
        f"team {team} has used {used:.1f} of its {quota:g} GPU hours of this month "
        f"(teams.{team}.quotas.gpu_hours in config/deployment.yaml)"
    )
